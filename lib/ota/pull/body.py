"""The body of a reply, in chunks as HTTP/1.1 has them or not: RFC 9112, section 7.1. RAM: about
0.4 KB while loaded.
"""

from micropython import const

from ..errors import OTAError

_LONGEST_LINE = const(64)  # of a chunk's size

_LOST = const(-5)
_ENCODING = const(-9)


def reading(session, view):
    """Read a part of the body of the reply to *session* into *view*, a memoryview.

    A generator whose value is the number of bytes, 0 at the end. Raises OTAError with a number
    below 0.
    """
    if session.is_chunked and session.left == 0:
        yield from _entering(session)
    left = session.left
    if left == 0:
        return 0
    if left is not None and left < len(view):
        view = view[:left]
    n = yield from _taking(session, view)
    if left is not None:
        if n == 0:
            raise OTAError(_LOST)
        session.left = left - n
    elif n == 0:
        session.left = 0
    return n


def _taking(session, view):
    # The same for the connection, without regard to what the bytes mean.
    n = min(len(view), len(session.rest))
    if n:
        view[:n] = session.rest[:n]
        session.rest = session.rest[n:]
        return n
    while True:
        try:
            n = session.tcp.readinto(view)
        except OSError as e:
            raise OTAError(_LOST, str(e))
        if n is not None:
            session.listen()
            return n
        yield from session.waiting()


def _entering(session):
    # Reads the size of the next chunk, which stands in a line of its own in hex; the line feed that
    # ends the chunk before comes first. The last chunk has none. A generator.
    byte = memoryview(bytearray(1))
    line = b""
    while line.strip() == b"" or line[-1:] != b"\n":
        n = yield from _taking(session, byte)
        if not n:
            raise OTAError(_LOST)
        line += byte
        if len(line) > _LONGEST_LINE:
            raise OTAError(_ENCODING)
    try:
        session.left = int(line.split(b";")[0], 16)
    except ValueError:
        raise OTAError(_ENCODING)
    if session.left == 0:
        session.is_chunked = False
