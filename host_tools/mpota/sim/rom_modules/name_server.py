"""Names as lwIP looks them up: a name server is asked by UDP, and the program waits meanwhile."""

import uselect
import usocket  # the interpreter's own

# lwIP's dns_check_entry() asks again after so many seconds each, and gives up after the last.
_PAUSES_S = (1, 1, 2, 3)
_NOT_FOUND = -2  # what lwip_getaddrinfo() of MicroPython's modlwip.c raises


def look_up(host, server, own_ip):
    """Return the address of *host*, as text, by the name server *server*, as "ip:port"."""
    ip, port = server.split(":")
    questions = usocket.socket(usocket.AF_INET, usocket.SOCK_DGRAM)
    try:
        questions.bind(usocket.getaddrinfo(own_ip, 0)[0][-1])
        ready = uselect.poll()
        ready.register(questions, uselect.POLLIN)
        # RFC 1035: one question, for the address of a name.
        question = b"\x4d\x50\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        for label in host.split("."):
            question += bytes([len(label)]) + label.encode()
        question += b"\x00\x00\x01\x00\x01"
        for pause_s in _PAUSES_S:
            questions.sendto(question, usocket.getaddrinfo(ip, int(port))[0][-1])
            if ready.poll(pause_s * 1000):
                answer = questions.recv(512)
                if answer[7]:  # one answer or more; the first is an address of four bytes
                    return ".".join([str(b) for b in answer[-4:]])
                break
        raise OSError(_NOT_FOUND)
    finally:
        questions.close()
