"""The board's `socket`: lwIP's shape over the host's sockets, bound to the board's own address.

Addresses are (ip, port) tuples everywhere, as in extmod/modlwip.c of MicroPython.
"""

import io

import control
import power
import usocket
from micropython import const

_GET_FILENO = const(10)  # MP_STREAM_GET_FILENO of MicroPython's py/stream.h


def __getattr__(name):
    return power.look_up(
        " AF_INET=2 AF_INET6=10 SOCK_STREAM=1 SOCK_DGRAM=2 IPPROTO_IP=0 IPPROTO_TCP=6 SOL_SOCKET=1"
        " SO_REUSEADDR=4 SO_BROADCAST=32 IP_ADD_MEMBERSHIP=1024 IP_DROP_MEMBERSHIP=1025"
        " TCP_NODELAY=1 getaddrinfo=socket_more ",
        name,
    )


def pack(address):
    return usocket.getaddrinfo(address[0] or "0.0.0.0", address[1])[0][-1]


def unpack(raw):
    parts = usocket.sockaddr(raw)
    return (".".join([str(b) for b in parts[1]]), parts[2])


class socket(io.IOBase):
    def __init__(self, af=2, type=1, proto=0, _accepted=None):
        self.bound = _accepted is not None
        self.inner = _accepted or usocket.socket(af, type)

    def bind(self, address):
        # The host has many addresses; the board has one, and none before it has a network.
        if not self.bound:
            self.inner.bind(pack((power.text(control.IP), address[1])))
            self.bound = True

    def accept(self):
        accepted, raw = self.inner.accept()
        return socket(_accepted=accepted), unpack(raw)

    def recvfrom(self, size, flags=0):
        data, raw = self.inner.recvfrom(size)
        return data, unpack(raw)

    def sendto(self, buf, address):
        self.bind(("", 0))
        return self.inner.sendto(buf, pack(address))

    def ioctl(self, request, arg):
        # For select: the number of the host's file.
        return self.inner.fileno() if request == _GET_FILENO else -1

    def __getattr__(self, name):
        if name == "connect" or name == "makefile" or name == "setsockopt":  # no tuple in the heap
            method = power.load("socket_more", name)
            return lambda *args: method(self, *args)
        # listen, send, recv, readinto, write, settimeout, close and so on are the same.
        return getattr(self.inner, name)
