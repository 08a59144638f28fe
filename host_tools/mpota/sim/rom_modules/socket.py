"""The board's `socket`: lwIP's shape over the host's sockets, bound to the board's own address.

Addresses are (ip, port) tuples everywhere, as in extmod/modlwip.c of MicroPython.
"""

import errno
import io

import control
import shared
import uselect
import usocket  # the interpreter's own
from name_server import look_up

AF_INET = 2
AF_INET6 = 10
SOCK_STREAM = 1
SOCK_DGRAM = 2
IPPROTO_IP = 0
IPPROTO_TCP = 6
SOL_SOCKET = 1
SO_REUSEADDR = 4
SO_BROADCAST = 32
IP_ADD_MEMBERSHIP = 1024
IP_DROP_MEMBERSHIP = 1025
TCP_NODELAY = 1

# MP_STREAM_POLL, MP_STREAM_CLOSE and MP_STREAM_GET_FILENO of MicroPython's py/stream.h
_POLL = 3
_CLOSE = 4
_GET_FILENO = 10
_READABLE = 1

_MSG_PEEK = 2  # of the host's recvfrom()


def _pack(address):
    return usocket.getaddrinfo(address[0] or "0.0.0.0", address[1])[0][-1]


def _unpack(raw):
    parts = usocket.sockaddr(raw)
    return (".".join([str(b) for b in parts[1]]), parts[2])


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    server = shared.text(control.NAME_SERVER)
    if server and not host.replace(".", "").isdigit():
        host = look_up(host, server, shared.text(control.IP))
    raw = usocket.getaddrinfo(host, port)[0][-1]
    return [(AF_INET, SOCK_STREAM, 0, "", _unpack(raw))]


class socket(io.IOBase):
    _port = 0
    _group = None  # what hears a multicast group, if the board has joined one

    def __init__(self, af=AF_INET, type=SOCK_STREAM, proto=0, _accepted=None):
        self._is_bound = _accepted is not None
        self._inner = _accepted or usocket.socket(af, type)

    def bind(self, address):
        # The host has many addresses; the board has one, and none before it has a network.
        if not self._is_bound:
            ip = shared.text(control.IP)
            self._port = address[1]
            try:
                self._inner.bind(_pack((ip, self._port)))
            except OSError as e:
                if e.errno != errno.EACCES:
                    raise
                self._port += control.PORTS_HIGHER_BY
                self._inner.bind(_pack((ip, self._port)))
            self._is_bound = True

    def connect(self, address):
        self.bind(("", 0))
        self._inner.connect(_pack(address))

    def accept(self):
        accepted, raw = self._inner.accept()
        return socket(_accepted=accepted), _unpack(raw)

    def recvfrom(self, size, flags=0):
        inner = self._group if self._group and self._group_has_more() else self._inner
        data, raw = inner.recvfrom(size)
        return data, _unpack(raw)

    def sendto(self, buf, address):
        self.bind(("", 0))
        return self._inner.sendto(buf, _pack(address))

    def makefile(self, mode="rb", buffering=0):
        return self

    def setsockopt(self, level, option, value):
        # The host's numbers differ from the board's.
        inner = self._inner
        if option == SO_REUSEADDR:
            inner.setsockopt(usocket.SOL_SOCKET, usocket.SO_REUSEADDR, value)
        elif level == IPPROTO_TCP:
            inner.setsockopt(IPPROTO_TCP, TCP_NODELAY, value)
        elif option == SO_BROADCAST:
            inner.setsockopt(usocket.SOL_SOCKET, usocket.SO_BROADCAST, value)
        elif option == IP_ADD_MEMBERSHIP:
            self._join(value)
        elif option == IP_DROP_MEMBERSHIP:
            if self._group is None:
                raise OSError(errno.EINVAL)
            self._group.close()
            self._group = None
        else:
            raise OSError(errno.EINVAL)

    def _join(self, value):
        # *value*: the group and the interface, four bytes each. What is bound to the board's own
        # address hears no multicast here, so a socket of its own does.
        group = usocket.socket(usocket.AF_INET, usocket.SOCK_DGRAM)
        group.setsockopt(usocket.SOL_SOCKET, usocket.SO_REUSEADDR, 1)
        group.bind(_pack((".".join([str(b) for b in value[:4]]), self._port)))
        group.setsockopt(IPPROTO_IP, usocket.IP_ADD_MEMBERSHIP, value)
        group.setblocking(False)
        self._group = group
        self._of_group = uselect.poll()
        self._of_group.register(group, uselect.POLLIN)
        self._of_inner = uselect.poll()
        self._of_inner.register(self._inner, uselect.POLLIN)

    def _group_has_more(self):
        # lwIP does not hand a board its own multicast; the host does.
        own = (shared.text(control.IP), self._port)
        while self._of_group.poll(0):
            if _unpack(self._group.recvfrom(1, _MSG_PEEK)[1]) != own:
                return True
            self._group.recvfrom(1)
        return False

    def ioctl(self, request, arg):
        if request == _GET_FILENO and self._group is None:  # from select
            return self._inner.fileno()
        if request == _POLL:  # from select, where there are two
            is_ready = self._group_has_more() or self._of_inner.poll(0)
            return arg & _READABLE if is_ready else 0
        if request == _CLOSE:  # from a TLS socket around this one
            self.close()
            return 0
        return -1

    def close(self):
        self._inner.close()
        if self._group:
            self._group.close()

    def __getattr__(self, name):
        # listen, send, recv, readinto, write, settimeout, close and so on are the same.
        return getattr(self._inner, name)
