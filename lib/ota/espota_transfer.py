"""The TCP half of an ArduinoOTA update: dial the host, take its bytes, count them out to it."""

import errno
import select
import socket
import time

from micropython import const

from .errors import OTAError
from .espota_session import after, is_past

# How long the host waits for the board, and so how long it makes sense to wait for the host.
_TIMEOUT_MS = const(10000)
_WAIT_MS = const(2)
# The least that a host must send on average after the first minute: 1 byte a millisecond.
_GRACE_MS = const(60000)

# Codes of on_error, as in ArduinoOTA.h.
_CONNECT_ERROR = const(2)
_RECEIVE_ERROR = const(3)

_STREAM_TIMEOUT = const(6)


def transfer(session):
    """Connect to *session*'s host and write all that was announced to its updater; a generator."""
    session.stage = _CONNECT_ERROR
    session.tcp = tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.setblocking(False)
    # Every count is a packet of its own, at once. Set before there is a connection to be reset:
    # lwIP's setsockopt does not look whether it still is there.
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        tcp.connect(session.host)
    except OSError as e:
        if e.errno != errno.EINPROGRESS:
            raise
    poll = select.poll()
    poll.register(tcp, select.POLLOUT)
    yield from _wait_until_connected(poll)
    poll.modify(tcp, select.POLLIN)
    session.stage = _RECEIVE_ERROR
    updater = session.updater
    buffer = updater.buffer
    chunk = len(buffer)
    begun = last = time.ticks_ms()
    while updater.remaining:
        view = buffer if updater.remaining >= chunk else buffer[: updater.remaining]
        n = tcp.readinto(view)
        now = time.ticks_ms()
        if n:
            # Counted before it is written, so that the next chunk is on its way meanwhile. What
            # the write may say is in the result.
            tcp.write(b"%d" % n)
            updater.write(view if n == len(view) else view[:n])
            last = now
        elif n is not None:
            raise OSError(errno.ECONNRESET)
        elif time.ticks_diff(now, last) > _TIMEOUT_MS:
            raise OTAError(_STREAM_TIMEOUT)
        else:
            # The next chunk is mostly under way: the application need not be asked in between.
            for _ in poll.ipoll(_WAIT_MS):
                n = 1
        if time.ticks_diff(now, begun) > _GRACE_MS + session.size:
            raise OTAError(_STREAM_TIMEOUT)
        yield bool(n)


def _wait_until_connected(poll):
    deadline = after(_TIMEOUT_MS)
    while not is_past(deadline):
        for _, events in poll.ipoll(0):
            if events & ~select.POLLOUT:
                raise OSError(errno.ECONNREFUSED)
            return
        yield False
    raise OSError(errno.ETIMEDOUT)
