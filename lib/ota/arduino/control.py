"""Status of the board, and confirm, reject and revert, asked for by a datagram; loaded when one
comes. Protocol: docs/SPEC.md.

RAM: about 1.2 KB while loaded.
"""

import gc
import sys

import uos
from micropython import const
from ubinascii import hexlify
from utime import ticks_diff, ticks_ms

from .. import log
from ..clock import after, is_past
from ..errors import OTAError
from .auth import hmac_hex, is_same, put_off

# As long as every request must be, and as an answer may be: nobody can be flooded by asking in the
# name of another.
REQUEST_BYTES = const(256)
_NONCE_MS = const(10000)


def answer(listener, data, address):
    """Answer the request *data* from *address*; not while a host is on the way to an update."""
    if listener.talk is None:
        listener.talk = Control(listener)
    if isinstance(listener.talk, Control):
        listener.talk.answer(data, address)
        if listener.talk and listener.talk.is_over():
            listener.talk = None


class Control:
    """Answers requests; one nonce at a time is good, once, for 10 s.

    It takes the place of a `Talk` in the listener, and gives way to the next one.
    """

    address = None
    nonce = None

    def __init__(self, listener):
        self.listener = listener
        self.deadline = after(_NONCE_MS)

    def gives_way(self, invitation, address):
        """Return True: an update goes before."""
        return True

    def takes(self, data, address):
        """Return False: no update is asked for here."""
        return False

    def is_over(self):
        """Return whether no request with the nonce can come any more."""
        return self.nonce is None or is_past(self.deadline)

    def step(self):
        """Return whether a request with the nonce may still come."""
        return not self.is_over()

    def answer(self, data, address):
        """Answer *data*, a datagram that begins with `MPOTA `, from *address*.

        Without a password everyone may ask for the status, and nobody for more.
        """
        words = data.split()
        if len(data) != REQUEST_BYTES or len(words) not in (2, 4):
            return
        command = words[1]
        if command not in (b"status", b"confirm", b"reject", b"revert"):
            return
        ota = self.listener.ota
        if not ota.has_password() and command == b"status":
            self.listener.send(self._status(), address)
        elif not (ota.settings.get("password") or ota.settings.get("password_sha256")):
            text = "ERR: this board has no password, or only the MD5 of one: set password_sha256"
            self.listener.send(text, address)
        elif len(words) == 2:
            # A nonce that nobody has used yet is given again: to ask twice does no harm to others.
            if self.nonce is None:
                self.nonce = hexlify(uos.urandom(32))
            self.listener.send(b"AUTH2 " + self.nonce, address)
        elif self._is_right(command, words[2], words[3]):
            self._do(command, address)
        else:
            put_off(self.listener)
            self.listener.send("Authentication Failed", address)

    def _is_right(self, command, cnonce, response):
        nonce = self.nonce
        ask_at = self.listener.ask_at
        if nonce is None or is_past(self.deadline) or not (ask_at is None or is_past(ask_at)):
            return False
        self.nonce = None
        if len(cnonce) != 64:
            return False
        return is_same(hmac_hex(self.listener.ota, (nonce, cnonce, command)), response)

    def _do(self, command, address):
        ota = self.listener.ota
        text = "OK"
        if command == b"status":
            text = self._status()
        elif command == b"confirm":
            if not ota.confirm():
                text = "ERR: not confirmed: see the board's log"
        else:
            # Both restart the board, so the answer goes first; what fails is told after it.
            self.listener.send("OK", address)
            try:
                ota.reject("the owner wished it")
                if command == b"revert":
                    ota.revert()
                text = "ERR: no version is on trial"
            except (OTAError, OSError) as e:
                text = "ERR: %s" % e
        self.listener.send(text, address)

    def _status(self):
        # Lines of a key and a value; the last one, the outcome, is cut off where there is no room.
        from .. import slots

        ota = self.listener.ota
        lines = []
        if ota.slot:
            try:
                manifest = slots.manifest_of(ota.slot)
                for key in ("name", "version", "sequence"):
                    lines.append("%s %s" % (key, manifest[key]))
            except OTAError as e:
                log.error("status: %s", e)
        lines.append("slot " + (ota.slot or "-"))
        lines.append("state " + self._state())
        gc.collect()
        lines.append("heap %d" % gc.mem_free())
        lines.append("firmware %d.%d.%d" % sys.implementation.version[:3])
        lines.append("uptime %d" % ota.uptime_s)
        lines.append("address " + ota.wifi.address)
        lines.append("outcome " + ota.last_outcome)
        return "\n".join(lines)[:REQUEST_BYTES]

    def _state(self):
        ota = self.listener.ota
        if ota.trial:
            trial_s = ota.settings.get("trial_s", 600)
            return "trial %d" % max(0, trial_s - ticks_diff(ticks_ms(), ota.begun) // 1000)
        if ota.slot is None:
            return "alone" if ota.is_alone else "services"
        return "healthy" if ota.healthy else "idle"
