"""ArduinoOTA listener, for espota.py, the Arduino IDE and PlatformIO. Protocol: docs/SPEC.md.

This module waits for datagrams. invitation.py reads what a datagram asks for, auth.py asks for the
password, session.py does the update, refusal.py tells why an update does not begin, control.py
answers other requests; each is loaded when it is needed. RAM: about 900 bytes.
"""

import gc
import sys

from micropython import const
from ustruct import calcsize
from utime import ticks_add, ticks_diff, ticks_ms

from .. import Callbacks, check_room, log

_LONGEST = const(256)  # bytes of a datagram
# How long a host waits for an answer: invitations that may be older are dropped.
_PATIENCE_MS = const(10000)
_SHORTEST = const(41)  # bytes of an invitation
# With less free heap than this, in words as in restart.py, an update does not try to begin beside
# the application: the modules loaded for it would leave their names in the heap for good.
_LEAST_WORDS = const(2500)


class ArduinoOTA(Callbacks):
    """Takes updates that a host announces by UDP and serves by TCP, for the application *ota*.

    Of ota.settings: `port` (8266), `password`, or `password_hash` and `password_sha256` (its MD5
    and SHA-256 in hex), `auth` ("classic"), `reboot_on_success` (true), `step_ms` (25). Codes of
    `on_error`: 1 begin, 2 connect, 3 receive, 4 end.
    """

    # Whether the application has called `end`: nothing is listened for until it calls `begin`.
    is_off = False
    # What kind of update was announced last: 0, an application; 100, data; 101, data for an
    # application that is to come. Arduino's getCommand().
    command = None

    def __init__(self, ota):
        # Made here, since there may be no memory for a new attribute when it changes.
        self.ota = ota
        # The running update, a session.Session; or, while a host is asked for the password, an
        # auth.Talk.
        self.session = self.talk = None
        # Wrong passwords in a row, and when the next host may be asked for one, in ticks.
        self.failures = 0
        self.ask_at = None
        # For pause.py: failed transfers in a row on a board without a password, by whatever
        # service, and the end of the pause after them.
        self.failed_transfers = 0
        self.pause_until = None
        # How the next step begins: a module of this package, and the arguments of its `begin` after
        # the listener. Modules of this step are unloaded first, since the heap may be nearly full.
        self.next = None
        # The bytes of heap that were free when an update was to begin.
        self.free = None
        # The UDP socket, None while the listener is off, and the poll object that tells whether a
        # datagram has come.
        self.socket = self.poll = None
        self.last = None  # when handle() was called last, in ticks
        self._is_short = False  # whether the log has already said that there is no memory

    def begin(self):
        """Listen for invitations. Raises OSError when the port is taken."""
        check_room()
        from .invitation import listen

        listen(self)
        self.is_off = False
        self.ota.unload()

    def end(self):
        """Stop listening, until `begin`; an update that is going on is discarded."""
        self.is_off = True
        if self.session:
            self.session.close()
        self.talk = self.next = None
        if self.socket:
            self.socket.close()
            self.socket = None

    def handle(self):
        """Do what can be done now, for `step_ms` or one chunk; return whether an update goes on."""
        if self.socket is None:
            if self.is_off:
                return False
            self.begin()
        now = ticks_ms()
        if self.last is not None and ticks_diff(now, self.last) > _PATIENCE_MS:
            # Datagrams came while the application did not call handle(): their hosts wait no
            # longer.
            for _ in range(64):
                if self.poll.poll(0):
                    self.socket.recvfrom(1)
        self.last = now
        if self.ask_at is not None and ticks_diff(self.ask_at, now) <= 0:
            self.ask_at = None  # ticks start again after 12 days
        if self.pause_until is not None and ticks_diff(self.pause_until, now) <= 0:
            self.pause_until = None
        end = ticks_add(now, self.ota.settings.get("step_ms", 25))
        busy = False
        while True:
            try:
                if self.next:
                    self._go_on()
                    busy = True
                else:
                    # While the data of an update come, datagrams are looked for once a call.
                    busy = not (busy and self.session) and self._receive()
                if self.session:
                    busy = self.session.step() or busy
                elif self.talk and not self.talk.step():
                    self.forget()
            except MemoryError:
                self._run_short()
                busy = False
            if self.socket is None or not busy or ticks_diff(end, ticks_ms()) <= 0:
                break
        ota = self.ota
        is_busy = ota.kept or ota.has_staged_data or self.next
        if ota.is_alone and not (is_busy or any(s.session for s in ota.services)):
            log.info("arduino: restart with the application")
            from ..hal import reset

            reset()
        return self.session is not None

    def send(self, text, address):
        """Send the datagram *text*, str or bytes, to *address*; nothing after `end`."""
        try:
            if self.socket:
                self.socket.sendto(text, address)
        except OSError as e:
            log.error("arduino: no answer sent: %s", e)

    def forget(self):
        """Drop the session or the talk, which has ended, and unload its modules."""
        self.session = self.talk = None
        self.ota.unload()

    def begin_update(self, invitation, address):
        """Begin the update that the host at *address* has announced; the host has been let in."""
        self.forget()
        self.next = "session", (invitation, address)

    def _go_on(self):
        (name, arguments), self.next = self.next, None
        web = self.ota.own_web
        if name == "session" and web and not web.is_updating:
            while web.session:  # who looks at the page gives way
                web.session.pop().close()
        if self.talk is None:
            self.ota.unload()
        try:
            if name == "session":
                self.free = gc.mem_free()
                if self.free < _LEAST_WORDS * calcsize("P") and "ota.updater" not in sys.modules:
                    raise MemoryError
            check_room()
            module = __import__("ota.arduino." + name, globals(), None, ("begin",))
            module.begin(self, *arguments)
        except MemoryError as e:
            if name != "session":
                self.send("ERR: ERROR[14]: Out of memory\n", arguments[1])
                raise
            self.next = "refusal", arguments + (e,)

    def _receive(self):
        # Takes one datagram; returns whether there was one.
        for _ in self.poll.ipoll(0):
            data, address = self.socket.recvfrom(_LONGEST)
            self._is_short = False
            if data[:4] == b"200 ":
                if self.talk and self.talk.takes(data, address):
                    self.begin_update(self.talk.invitation, self.talk.address)
            elif data[:2] in (b"0 ", b"10") or data[:6] == b"MPOTA ":
                if not self.ota.is_updating:
                    check_room()
                    from .invitation import take

                    take(self, data, address)
                elif len(data) >= _SHORTEST and not (
                    self.session and address == self.session.address
                ):
                    self.send("ERR: ERROR[15]: Update already running\n", address)
            return True
        return False

    def _run_short(self):
        # There was no memory for a datagram or an answer. A talk has to end in time even so.
        if not self._is_short:  # logged only once
            self._is_short = True
            log.error("arduino: no memory for a datagram: %d bytes free", gc.mem_free())
        if self.talk and self.talk.is_over():
            self.forget()
