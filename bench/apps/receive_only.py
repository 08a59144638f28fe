"""The least that an upload can cost on this board: be invited, and receive as in page_loop.py."""

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
    receive(tcp, int(words[2]), True)  # noqa: F821
    tcp.write("OK")
    tcp.close()
    invitations.close()
