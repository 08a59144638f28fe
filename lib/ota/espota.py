"""ArduinoOTA listener, for espota.py, the Arduino IDE and PlatformIO. Protocol: docs/SPEC.md.

Waits for a datagram; the rest is in espota_invitation.py and espota_session.py, loaded when one
comes.
"""

import select
import socket
import time

from . import Callbacks


class ArduinoOTA(Callbacks):
    """Takes updates that a host announces by UDP and serves by TCP, for the application *ota*.

    Of ota.settings: `port` (8266), `password`, or `password_hash` and `password_sha256` (its MD5
    and SHA-256 in hex), `auth` ("classic"), `reboot_on_success` (true), `step_ms` (25). Codes of
    `on_error`: 0 authentication, 1 begin, 2 connect, 3 receive, 4 end.
    """

    # The update that is going on, or the talk before it: an espota_session.Session, or None.
    session = None
    # Wrong passwords in a row: each makes the next answer come later.
    failures = 0
    # Whether the application has called `end`: nothing is listened for until it calls `begin`.
    is_off = False
    _socket = None

    def __init__(self, ota):
        self.ota = ota

    def begin(self):
        """Listen for invitations. Raises OSError when the port is taken."""
        from . import log

        settings = self.ota.settings
        port = settings.get("port", 8266)
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.setblocking(False)
        try:
            listener.bind(("", port))
            self._poll = select.poll()
            self._poll.register(listener, select.POLLIN)
        except Exception:
            listener.close()
            raise
        self._socket = listener
        self.is_off = False
        log.info("espota: %s listens on port %d", settings["hostname"], port)

    def _open_session(self, data, address):
        from . import forget_modules, log

        try:
            from .espota_invitation import open_session

            open_session(self, self._socket, data, address)
        except MemoryError:
            log.error("espota: no memory for an update")
        if self.session is None:  # or it was no invitation after all
            forget_modules()

    def end(self):
        """Stop listening, until `begin`; an update that is going on is discarded."""
        self.is_off = True
        if self.session:
            self.session.close()
        if self._socket:
            self._socket.close()
            self._socket = None

    def handle(self):
        """Do what can be done now, for `step_ms` or one chunk; return whether a session goes on."""
        if self._socket is None:
            if self.is_off:
                return False
            self.begin()
        end = time.ticks_add(time.ticks_ms(), self.ota.settings.get("step_ms", 25))
        while True:
            for _ in self._poll.ipoll(0):
                data, address = self._socket.recvfrom(256)
                if self.session:
                    self.session.take_datagram(data, address)
                elif data[:2] == b"0 " or data[:4] == b"100 ":
                    self._open_session(data, address)
            if self.session is None:
                return False
            if not self.session.step() or time.ticks_diff(end, time.ticks_ms()) <= 0:
                return True
