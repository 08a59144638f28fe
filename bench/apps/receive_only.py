"""The least that an upload can cost on this board: receive, write to a file, count back."""

import socket

print("application runs")
while True:
    invitations = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    invitations.bind(("", 8266))
    print("waiting")
    data, address = invitations.recvfrom(256)
    words = data.split()
    invitations.sendto("OK", address)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.connect((address[0], int(words[1])))
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    left = int(words[2])
    buffer = memoryview(bytearray(1460))
    with open("/received", "wb") as f:
        while left:
            n = tcp.readinto(buffer[: min(left, 1460)])
            f.write(buffer[:n])
            tcp.write(b"%d" % n)
            left -= n
    tcp.write("OK")
    tcp.close()
    invitations.close()
