"""The board's `socket`: lwIP's shape over the host's sockets, bound to the board's own address.

Addresses are (ip, port) tuples everywhere, as in extmod/modlwip.c of MicroPython.
"""

import errno

import network
import usocket

AF_INET = 2
AF_INET6 = 10
SOCK_STREAM = 1
SOCK_DGRAM = 2
IPPROTO_IP = 0
IPPROTO_TCP = 6
SOL_SOCKET = 1
SO_REUSEADDR = 4
SO_BROADCAST = 0x20
IP_ADD_MEMBERSHIP = 0x400
IP_DROP_MEMBERSHIP = 0x401
TCP_NODELAY = 1


def _pack(address):
    return usocket.getaddrinfo(address[0] or "0.0.0.0", address[1])[0][-1]


def _unpack(raw):
    parts = usocket.sockaddr(raw)
    return (".".join([str(b) for b in parts[1]]), parts[2])


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    raw = usocket.getaddrinfo(host, port)[0][-1]
    return [(AF_INET, SOCK_STREAM, 0, "", _unpack(raw))]


class socket:
    def __init__(self, af=AF_INET, type=SOCK_STREAM, proto=0, _accepted=None):
        self._type = type
        self._bound = _accepted is not None
        self._socket = _accepted or usocket.socket(AF_INET, type)

    def _own_address(self, port=0):
        # The host has many addresses; the board has one, and none before it has a network.
        if not self._bound:
            self._socket.bind(_pack((network._ip(), port)))
            self._bound = True

    def bind(self, address):
        self._own_address(address[1])

    def listen(self, backlog=2):
        self._socket.listen(backlog)

    def accept(self):
        accepted, raw = self._socket.accept()
        return socket(_accepted=accepted), _unpack(raw)

    def connect(self, address):
        self._own_address()
        self._socket.connect(_pack(address))

    def send(self, buf):
        return self._socket.send(buf)

    def sendall(self, buf):
        self._socket.sendall(buf)

    def recv(self, size, flags=0):
        return self._socket.recv(size)

    def recvfrom(self, size, flags=0):
        data, raw = self._socket.recvfrom(size)
        return data, _unpack(raw)

    def sendto(self, buf, address):
        self._own_address()
        return self._socket.sendto(buf, _pack(address))

    def setblocking(self, on):
        self._socket.setblocking(on)

    def settimeout(self, seconds):
        self._socket.settimeout(seconds)

    def setsockopt(self, level, option, value):
        if option == SO_REUSEADDR:
            self._socket.setsockopt(usocket.SOL_SOCKET, usocket.SO_REUSEADDR, value)
        elif level == IPPROTO_TCP:
            self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, value)
        elif option == SO_BROADCAST:
            self._socket.setsockopt(usocket.SOL_SOCKET, usocket.SO_BROADCAST, value)
        elif option == IP_ADD_MEMBERSHIP:
            self._socket.setsockopt(IPPROTO_IP, usocket.IP_ADD_MEMBERSHIP, value)
        elif option == IP_DROP_MEMBERSHIP:
            self._socket.setsockopt(IPPROTO_IP, usocket.IP_DROP_MEMBERSHIP, value)
        else:
            raise OSError(errno.EINVAL)

    def makefile(self, mode="rb", buffering=0):
        return self

    def read(self, size=-1):
        return self._socket.read(size)

    def readinto(self, buf, size=-1):
        return self._socket.readinto(buf) if size < 0 else self._socket.readinto(buf, size)

    def readline(self, size=-1):
        return self._socket.readline(size)

    def write(self, buf):
        return self._socket.write(buf)

    def close(self):
        self._socket.close()
