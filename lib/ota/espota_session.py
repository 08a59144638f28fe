"""One ArduinoOTA update, from the first answer to the result; loaded when a host invites."""

import gc
import sys
import time

from micropython import const

from . import forget_modules, log
from .errors import OTAError
from .updater import Updater

# Between the last count and the result, so that the host reads them one by one.
_SETTLE_MS = const(500)
# For the host to read the result before the connection closes.
_LINGER_MS = const(1000)

# How long a host that has not proved to know the password keeps others away.
_OWN_MS = const(2000)

# Codes of on_error, as in ArduinoOTA.h; others are in espota_auth.py and espota_transfer.py.
_AUTH_ERROR = const(0)
_BEGIN_ERROR = const(1)
_END_ERROR = const(4)

_STREAM_TIMEOUT = const(6)
_NO_MEMORY = const(14)


class Session:
    """One host at a time: others are told that an update is running."""

    answer = None  # the words of the datagram that answered AUTH
    ask_at = None  # when AUTH may go out, in ticks, if it is put off
    tcp = None  # the connection to the host
    stage = _AUTH_ERROR  # what on_error is told if it fails now

    # What was announced: the command, the host's address and TCP port, the size in bytes, the MD5
    # and the SHA-256 in hex ("": none), as espota_invitation.py has read them.
    command = host = size = md5 = sha256 = None

    def __init__(self, listener, udp, address):
        self._listener = listener
        self._udp = udp
        self.address = address
        # Until when no other host can begin before this one is authenticated, in ticks.
        self.own_until = after(_OWN_MS)
        self.updater = Updater(listener.ota, listener)
        self.steps = self._run()

    def take_datagram(self, data, address):
        """Take a datagram that came in the meantime: the answer waited for, or a stray one."""
        if data[:4] == b"200 " and address == self.address and len(data) < 140:
            self.answer = data.split()
        elif data[:2] == b"0 " or data[:4] == b"100 ":
            if self.stage == _AUTH_ERROR and (address == self.address or is_past(self.own_until)):
                # The host has lost the answer and begins anew, or has had its time.
                from .espota_invitation import begin_anew

                begin_anew(self, self._listener, self._udp, data, address)
            elif address != self.address:
                # Not as an OTAError: its text would have to be loaded, in the middle of an update.
                self.send("ERR: ERROR[15]: Update already running\n", address)

    def step(self):
        """Do one piece of work; return False when there is nothing to do but wait."""
        try:
            return next(self.steps)
        except StopIteration:
            pass
        except Exception as e:
            sys.print_exception(e)
        self.close()
        return False

    def close(self):
        """End the session; its update is discarded."""
        self.steps.close()
        self._listener.session = None
        forget_modules()

    def _run(self):
        listener = self._listener
        updater = self.updater
        try:
            get = listener.ota.settings.get
            if not (yield from self._authenticate()):
                return
            forget_modules("espota_auth", "espota_invitation")
            self.stage = _BEGIN_ERROR
            updater.begin(self.size, self.command)
            updater.set_md5(self.md5)
            updater.expected_sha256 = self.sha256
            self.send("OK", self.address)
            yield from self._transfer()
            self.stage = _END_ERROR
            for _ in updater.ending():
                yield True
            yield from self._tell("OK")
            updater.call("end")
        except Exception as e:  # whatever it was, the application must hear of it
            yield from self._failed(e)
            return
        finally:
            # Also when the session is closed in the middle. After success it does nothing.
            updater.abort(_STREAM_TIMEOUT)
            if self.tcp:
                self.tcp.close()
        if get("reboot_on_success", True):
            log.info("espota: restart")
            from .hal import reset

            reset()

    def _authenticate(self):
        get = self._listener.ota.settings.get
        if get("auth", "classic") == "classic" and not (
            get("password") or get("password_hash") or get("password_sha256")
        ):
            return True
        from .espota_auth import authenticate

        return (yield from authenticate(self, get, self._listener))

    def _transfer(self):
        from .espota_transfer import transfer

        yield from transfer(self)

    def _failed(self, e):
        # Tells the log, the host and the application why it ended.
        if isinstance(e, MemoryError):
            e = OTAError(_NO_MEMORY)
        self.updater.abort(_STREAM_TIMEOUT)
        gc.collect()
        try:
            log.error("espota: %s", e)
            if self.stage <= _BEGIN_ERROR:
                self.send("ERR: %s\n" % e, self.address)
            elif self.tcp and isinstance(e, OTAError):
                yield from self._tell("%s\n" % e)
        finally:
            self.updater.call("error", self.stage)

    def _tell(self, result):
        # Sends the result by itself, and lets the host read it before the connection closes.
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
            log.error("espota: the host is gone: %s", e)

    def send(self, text, address):
        """Send the datagram *text*, str or bytes, to *address*."""
        try:
            self._udp.sendto(text, address)
        except OSError as e:
            log.error("espota: no answer sent: %s", e)


def after(ms):
    """Return the time *ms* from now, in ticks."""
    return time.ticks_add(time.ticks_ms(), ms)


def is_past(deadline):
    """Return whether it is *deadline*, in ticks, or later."""
    return time.ticks_diff(deadline, time.ticks_ms()) <= 0
