"""The part of the board's `socket` that is used now and then."""

import errno

import usocket
from socket import IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IPPROTO_IP, IPPROTO_TCP, pack, unpack
from socket import SO_BROADCAST, SO_REUSEADDR, TCP_NODELAY


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    raw = usocket.getaddrinfo(host, port)[0][-1]
    return [(2, 1, 0, "", unpack(raw))]


# Methods of socket.


def connect(sock, address):
    sock.bind(("", 0))
    sock.inner.connect(pack(address))


def makefile(sock, mode="rb", buffering=0):
    return sock


def setsockopt(sock, level, option, value):
    """Set the board's *option* on the host's socket: the numbers differ."""
    sock = sock.inner
    if option == SO_REUSEADDR:
        sock.setsockopt(usocket.SOL_SOCKET, usocket.SO_REUSEADDR, value)
    elif level == IPPROTO_TCP:
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, value)
    elif option == SO_BROADCAST:
        sock.setsockopt(usocket.SOL_SOCKET, usocket.SO_BROADCAST, value)
    elif option == IP_ADD_MEMBERSHIP:
        sock.setsockopt(IPPROTO_IP, usocket.IP_ADD_MEMBERSHIP, value)
    elif option == IP_DROP_MEMBERSHIP:
        sock.setsockopt(IPPROTO_IP, usocket.IP_DROP_MEMBERSHIP, value)
    else:
        raise OSError(errno.EINVAL)
