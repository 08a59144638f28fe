"""ArduinoOTA listener, for espota.py, the Arduino IDE and PlatformIO. Protocol: docs/SPEC.md.

Waits for datagrams. What a host is asked for when there is a password is in auth.py, the update
itself in session.py; they are loaded when a host invites. RAM: about 900 bytes.
"""

import gc

from micropython import const
from uselect import POLLIN, poll
from usocket import AF_INET, SOCK_DGRAM, socket
from utime import ticks_diff, ticks_ms

from .. import log
from ..callbacks import Callbacks
from ..clock import after, is_past
from ..errors import OTAError

_LONGEST = const(256)  # bytes of a datagram
# As long as a host waits for an answer: an invitation that may be older is dropped.
_PATIENCE_MS = const(10000)
# The pause after failed transfers on a board without a password, doubled with each more.
_PAUSE_MS = const(1000)
_MAX_PAUSE_MS = const(64000)
_FREE_FAILURES = const(2)

_NO_MEMORY = const(14)


class ArduinoOTA(Callbacks):
    """Takes updates that a host announces by UDP and serves by TCP, for the application *ota*.

    Of ota.settings: `port` (8266), `password`, or `password_hash` and `password_sha256` (its MD5
    and SHA-256 in hex), `auth` ("classic"), `reboot_on_success` (true), `step_ms` (25). Codes of
    `on_error`: 1 begin, 2 connect, 3 receive, 4 end.
    """

    # The update that is going on, a session.Session; or the host that is to prove that it knows the
    # password, an auth.Talk, or that asks for the status, a control.Control.
    session = talk = None
    # What kind of update was announced last: 0, an application. Arduino's getCommand().
    command = None
    # Wrong passwords in a row, and when the next host may be asked for one, in ticks.
    failures = 0
    ask_at = None
    # Failed transfers in a row on a board without a password, and the end of the pause after them.
    failed_transfers = 0
    _pause_until = None
    # Whether the application has called `end`: nothing is listened for until it calls `begin`.
    is_off = False
    _socket = None
    _handled = None  # when handle() was called last, in ticks
    _is_short = False  # of memory, which has been said

    def __init__(self, ota):
        self.ota = ota

    def begin(self):
        """Listen for invitations. Raises OSError when the port is taken."""
        settings = self.ota.settings
        port = settings.get("port", 8266)
        listener = socket(AF_INET, SOCK_DGRAM)
        listener.setblocking(False)
        try:
            listener.bind(("", port))
            self._poll = poll()
            self._poll.register(listener, POLLIN)
        except Exception:
            listener.close()
            raise
        self._socket = listener
        self.is_off = False
        log.info("arduino: %s listens on port %d", settings["hostname"], port)
        if self.ota.kept:  # this boot is for the sake of that update, whose host has proved itself
            _, invitation, address = self.ota.kept
            self.ota.kept = None
            self._open(invitation, address)
            return
        if not self.ota.has_password():
            log.info("arduino: no password is set: everyone on the network can update this board")

    def end(self):
        """Stop listening, until `begin`; an update that is going on is discarded."""
        self.is_off = True
        if self.session:
            self.session.close()
        self.talk = None
        if self._socket:
            self._socket.close()
            self._socket = None

    def handle(self):
        """Do what can be done now, for `step_ms` or one chunk; return whether an update goes on."""
        if self._socket is None:
            if self.is_off:
                return False
            self.begin()
        now = ticks_ms()
        if self._handled is not None and ticks_diff(now, self._handled) > _PATIENCE_MS:
            self._drop_datagrams()
        self._handled = now
        end = after(self.ota.settings.get("step_ms", 25))
        while True:
            busy = self._receive()
            if self.session:
                busy = self.session.step() or busy
            elif self.talk:
                self._ask()
            if self._socket is None or not busy or is_past(end):
                break
        if self.ota.is_alone and self.session is None:
            log.info("arduino: restart with the application")
            from ..hal import reset

            reset()
        return self.session is not None

    def send(self, text, address):
        """Send the datagram *text*, str or bytes, to *address*; nothing after `end`."""
        try:
            if self._socket:
                self._socket.sendto(text, address)
        except OSError as e:
            log.error("arduino: no answer sent: %s", e)

    def forget(self):
        """Let go of the session or the talk, which is over, and of what was loaded for it."""
        self.session = self.talk = None
        self.ota.unload()

    def count_transfer(self, succeeded):
        """Note how a transfer ended: on a board without a password, failures bring a pause."""
        if succeeded or self.ota.has_password():
            self.failed_transfers = 0
            return
        self.failed_transfers += 1
        doubled = self.failed_transfers - _FREE_FAILURES
        if doubled > 0:
            self._pause_until = after(min(_PAUSE_MS << min(doubled, 8), _MAX_PAUSE_MS))

    def _drop_datagrams(self):
        # Nobody waits any more for an answer to what came while the application was away.
        for _ in range(64):
            if not self._poll.poll(0):
                return
            self._socket.recvfrom(1)

    def _receive(self):
        # Takes one datagram; returns whether there was one.
        for _ in self._poll.ipoll(0):
            try:
                data, address = self._socket.recvfrom(_LONGEST)
                self._take(data, address)
                self._is_short = False
            except MemoryError:
                if not self._is_short:  # said once
                    self._is_short = True
                    log.error("arduino: no memory for a datagram: %d bytes free", gc.mem_free())
                return False
            return True
        return False

    def _take(self, data, address):
        if data[:4] == b"200 ":
            if self.talk and self.talk.takes(data, address):
                self._open(self.talk.invitation, self.talk.address)
            return
        if data[:6] == b"MPOTA ":
            self._control(data, address)
            return
        invitation = read_invitation(data)
        if invitation is None:
            return
        if self.session:
            if address != self.session.address:
                self.send("ERR: ERROR[15]: Update already running\n", address)
        elif not self.ota.has_password():
            self._open(invitation, address)
        else:
            from .auth import begin_talk

            begin_talk(self, invitation, address)

    def _control(self, data, address):
        # A request for the status, or the like; not while a host is on the way to an update.
        if self.session:
            return
        from .control import Control

        if self.talk is None:
            self.talk = Control(self)
        if isinstance(self.talk, Control):
            self.talk.answer(data, address)

    def _ask(self):
        # Goes on with the host that is to prove itself, until its time is over.
        try:
            if self.talk.step():
                return
        except MemoryError:
            log.error("arduino: no memory to ask for the password: %d bytes free", gc.mem_free())
        self.forget()

    def _open(self, invitation, address):
        # The host of *invitation* may update the board: begins, or says why not.
        self.forget()
        if self._pause_until is not None and not is_past(self._pause_until):
            wait_s = ticks_diff(self._pause_until, ticks_ms()) // 1000 + 1
            self.send("ERR: ERROR[33]: failed transfers, try again in %d s\n" % wait_s, address)
            return
        self._pause_until = None
        try:
            self._begin(invitation, address)
            return
        except OTAError as e:
            text = str(e)
        self.forget()
        log.error("arduino: refused: %s", text)
        self.send("ERR: %s\n" % text, address)
        if self.ota.is_alone:
            from ..restart import note

            note("failed: " + text)

    def _begin(self, invitation, address):
        # Begins the update. Where the heap is too full for that, the board restarts, if it may.
        ota = self.ota
        session = None
        try:
            from .session import Session

            session = Session(self, invitation, address)
            session.begin()
            self.session = session
            return
        except MemoryError:
            pass
        except OTAError as e:
            if e.code != _NO_MEMORY or session.updater.has_started:
                raise
        session = None
        self.forget()
        free = gc.mem_free()
        from .. import restart

        restart.restart(ota, self, restart.ARDUINO, invitation, address)
        raise OTAError(_NO_MEMORY, "%d of %d bytes free" % (free, restart.needed_heap()))


def read_invitation(data):
    """Return (command, TCP port, size, MD5, SHA-256) of the invitation *data*; None: it is none.

    It is `<command> <tcp port> <size> <md5>` in one line, for the stronger handshake followed by
    `2 <sha256>`; anything else, or a port that a service of the host's own may have, gets no
    answer. The digests are text in hex; "" where there is no SHA-256.
    """
    if data[:2] != b"0 " and data[:4] != b"100 ":
        return None
    words = data.split()
    if len(words) == 6:
        if words[4] != b"2" or len(words[5]) != 64 or len(data) > 199:
            return None
    elif len(words) != 4 or len(data) > 99:
        return None
    if len(words[3]) != 32:
        return None
    for c in words[3] + words[-1]:
        if c not in b"0123456789abcdefABCDEF":
            return None
    if not (words[1].isdigit() and words[2].isdigit() and 1023 < int(words[1]) < 65536):
        return None
    sha256 = words[5].decode() if len(words) == 6 else ""
    return int(words[0]), int(words[1]), int(words[2]), words[3].decode(), sha256
