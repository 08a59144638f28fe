"""One ArduinoOTA update, from the invitation to the result; loaded when the host is let in.

RAM: about 1.8 KB while loaded, beside the Updater's.
"""

import gc
import sys

import uerrno
from micropython import const
from uselect import POLLIN, POLLOUT, poll
from usocket import AF_INET, IPPROTO_TCP, SOCK_STREAM, TCP_NODELAY, socket
from utime import ticks_diff, ticks_ms

from .. import hal, log
from ..clock import after, is_past
from ..errors import OTAError
from ..updater import Updater

# A host waits this long for the board, so the board waits as long for the host.
_TIMEOUT_MS = const(10000)
_WAIT_MS = const(2)
# The least that a host must send on average after the first minute: 1 byte a millisecond.
_GRACE_MS = const(60000)
# A pause between the last count and the result, so that the host receives them separately.
_SETTLE_MS = const(500)
# A pause in which the host can read the result, before the connection is closed.
_LINGER_MS = const(1000)

# Codes of on_error, as in ArduinoOTA.h.
_BEGIN_ERROR = const(1)
_CONNECT_ERROR = const(2)
_RECEIVE_ERROR = const(3)
_END_ERROR = const(4)

_STREAM_TIMEOUT = const(6)
_VETOED = const(32)
_NO_MEMORY = const(14)


def begin(listener, invitation, address):
    """Begin the update that the host at *address* has announced, or have refusal.py refuse it."""
    try:
        listener.session = Session(listener, invitation, address)
        listener.session.begin()
    except Exception as e:
        listener.session = None
        listener.next = "refusal", (invitation, address, e)


class Session:
    """The update that the host at *address* has announced by *invitation*."""

    stage = _BEGIN_ERROR  # the code for on_error if the update fails now
    tcp = None

    def __init__(self, listener, invitation, address):
        command, port, size, md5, sha256 = invitation
        self.listener = listener
        self.host = (address[0], port)
        self.size = size
        self.address = address
        listener.command = command
        self.updater = Updater(listener.ota, listener)
        self.updater.set_md5(md5)
        if sha256:
            self.updater.set_sha256(sha256)
        self.steps = None
        self._is_closed = False

    def begin(self):
        """Reserve what the update needs, ask the application, and tell the host to go on.

        Raises OTAError where the update is refused, and MemoryError where the heap is too full for
        it and the application was not asked yet.
        """
        try:
            self.tcp = socket(AF_INET, SOCK_STREAM)
            self.poll = poll()
            self.poll.register(self.tcp, POLLOUT)
            self.steps = self._run()
            self.updater.begin(self.size, self.listener.command)
            if self._is_closed:
                raise OTAError(_VETOED, "the listener was ended")
        except Exception as e:
            self._close_tcp()
            self.updater.abort(_STREAM_TIMEOUT)
            if self.updater.has_started:
                self._call("error", _BEGIN_ERROR)
            elif isinstance(e, OTAError) and e.code == _NO_MEMORY:
                raise MemoryError
            raise
        self.listener.send("OK", self.address)

    def step(self):
        """Do one piece of work; return False when there is nothing to do but wait."""
        try:
            goes_on = next(self.steps)
            if not self._is_closed:
                return goes_on
        except StopIteration:
            pass
        except Exception as e:
            sys.print_exception(e)
        self.close()
        return False

    def close(self):
        """End the session; its update is discarded."""
        self._is_closed = True
        try:
            self.steps.close()
        except ValueError:
            return  # called by a callback of this update: `step` ends the session afterwards
        self.listener.forget()

    def _run(self):
        updater = self.updater
        succeeded = False
        try:
            yield from self._receive()
            self.stage = _END_ERROR
            for _ in updater.ending():
                yield True
            succeeded = True
            yield from self._tell("OK")
            self._call("end")
        except Exception as e:  # the application must be told of any error
            if succeeded:
                sys.print_exception(e)  # the host may not know it, but the update is verified
                self._call("end")
            else:
                yield from self._failed(e)
        except GeneratorExit:  # the application has ended the listener
            self._call("end") if succeeded else self._call("error", self.stage)
            raise
        finally:
            # Also when the session is closed in the middle. After success it does nothing.
            updater.abort(_STREAM_TIMEOUT)
            self._close_tcp()
        ota = self.listener.ota
        if succeeded and ota.settings.get("reboot_on_success", True) and not ota.has_staged_data:
            log.info("arduino: restart")
            hal.reset()
        from ..pause import note

        note(self.listener, succeeded or ota.has_password())

    def _receive(self):
        # Connects to the host and writes all that was announced to the updater.
        self.stage = _CONNECT_ERROR
        tcp = self.tcp
        tcp.setblocking(False)
        # Each count is sent at once, as a packet of its own. This is set before connecting, since
        # lwIP's setsockopt does not check whether the connection still exists.
        tcp.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        try:
            tcp.connect(self.host)
        except OSError as e:
            if e.errno != uerrno.EINPROGRESS:
                raise
        yield from self._wait_until_connected()
        self.poll.modify(tcp, POLLIN)
        self.stage = _RECEIVE_ERROR
        updater = self.updater
        chunk = len(updater.buffer)
        begun = last = ticks_ms()
        limit_ms = _GRACE_MS + self.size
        while updater.remaining:
            if not updater.is_running:  # a callback has ended it
                raise OTAError(updater.error)
            view = updater.buffer
            if updater.remaining < chunk:
                view = view[: updater.remaining]
            # The next chunk mostly arrives soon, so the board waits a moment for it here.
            n = None
            for _ in self.poll.ipoll(_WAIT_MS):
                n = tcp.readinto(view)
            now = ticks_ms()
            if n:
                # The chunk is acknowledged before it is written, so that the next chunk can travel.
                # What the write may say is in the result.
                tcp.write(b"%d" % n)
                for _ in updater.writing(view if n == len(view) else view[:n]):
                    yield True
                last = now
            elif n is not None:
                raise OSError(uerrno.ECONNRESET)
            if ticks_diff(now, last) > _TIMEOUT_MS or ticks_diff(now, begun) > limit_ms:
                raise OTAError(_STREAM_TIMEOUT)
            view = None  # the Updater must be the only owner of the block
            yield bool(n)

    def _wait_until_connected(self):
        deadline = after(_TIMEOUT_MS)
        while not is_past(deadline):
            for _, events in self.poll.ipoll(0):
                if events & ~POLLOUT:
                    raise OSError(uerrno.ECONNREFUSED)
                return
            yield False
        raise OSError(uerrno.ETIMEDOUT)

    def _failed(self, e):
        # Tells the log, the host and the application why the update has ended.
        if isinstance(e, MemoryError):
            e = OTAError(_NO_MEMORY)
        self.updater.abort(_STREAM_TIMEOUT)
        gc.collect()
        try:
            text = str(e)
            if isinstance(e, OSError):
                is_connecting = self.stage == _CONNECT_ERROR
                text = "no connection to the host: " if is_connecting else "connection lost: "
                text += str(e)
            log.error("arduino: %s", text)
            if self.listener.ota.is_alone:
                from ..restart import note

                note("failed: " + text)
            if self.stage > _CONNECT_ERROR and isinstance(e, OTAError):
                yield from self._tell("%s\n" % e)
        finally:
            self._call("error", self.stage)

    def _tell(self, result):
        # Sends the result as a packet of its own, and closes when the host can have read it.
        deadline = after(_SETTLE_MS)
        while not is_past(deadline):
            yield False
        deadline = after(_LINGER_MS)
        scrap = bytearray(64)
        try:
            self.tcp.write(result)
            while not is_past(deadline) and self.tcp.readinto(scrap) != 0:
                yield False
        except OSError as e:
            log.error("arduino: the host is gone: %s", e)

    def _call(self, event, *args):
        self.listener.ota.call(event, self.listener, *args)

    def _close_tcp(self):
        if self.tcp:
            self.tcp.close()
            self.tcp = None
