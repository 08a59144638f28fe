"""The update page's listener, on port 80. Protocol: docs/SPEC.md.

Waits for connections. What becomes of one is in connection.py, which is loaded when one comes. RAM:
about 800 bytes.
"""

import uerrno
from micropython import const

from .. import Callbacks, log
from ..clock import after, is_past

# Connections that are held, and that may wait to be taken.
_HELD = const(4)


class Web(Callbacks):
    """Serves the update page and takes its updates, for the application *ota*.

    Of ota.settings: `web_port` (80), `web_user` ("mpota"), and `web_password`, or `web_ha1_sha256`
    and `web_ha1_md5`. Codes of `on_error`: 1 begin, 3 receive, 4 end.
    """

    # Whether an update goes on, until its client has been told the result.
    is_updating = False
    # What the application has registered: path → (function, whether it needs no password), or None.
    routes = None
    # Wrong passwords and nonces, for auth.py; None: nobody has been asked for a password.
    guard = None
    # Whether nothing is listened for until the application calls `begin`.
    is_off = True
    # The TCP socket, None while nothing is listened for, and what tells that a connection is there.
    socket = poll = None
    _is_short = False  # of memory, which has been said

    def __init__(self, ota):
        self.ota = ota
        self.session = []  # the connections that are open, each a connection.Connection

    def begin(self):
        """Listen for connections. Raises OSError when the port is taken."""
        import uselect
        import usocket

        if self.socket is None:
            port = self.ota.settings.get("web_port", 80)
            listener = usocket.socket(usocket.AF_INET, usocket.SOCK_STREAM)
            listener.setblocking(False)
            try:
                listener.setsockopt(usocket.SOL_SOCKET, usocket.SO_REUSEADDR, 1)
                listener.bind(("", port))
                listener.listen(_HELD)
                self.poll = uselect.poll()
                self.poll.register(listener, uselect.POLLIN)
            except Exception:
                listener.close()
                raise
            self.socket = listener
            log.info("web: http://%s:%d/update", self.ota.address, port)
        self.is_off = False

    def end(self):
        """Close all connections, and listen for none until `begin`; an update is discarded."""
        self.is_off = True
        for connection in self.session:
            connection.close()  # it is forgotten by handle()
        if self.socket:
            self.socket.close()
            self.socket = self.poll = None

    def route(self, path, handler, is_open=False):
        """Answer requests for *path*, as "/values", by `handler(request)`: see README.

        The password that the page has is asked for, unless *is_open*.
        """
        self.routes = self.routes or {}
        self.routes[path.encode()] = (handler, is_open)

    def take(self, connection=None, address=None, line=b""):
        """Serve the socket *connection*, which another server on this board has accepted.

        *address* is its client's (IP address, port), *line* what was read from it. It is closed
        when it has been served. Without arguments, the next one that waits here is taken.
        """
        from .connection import Connection

        if connection is None:
            if len(self.session) >= _HELD:
                # One that has sent nothing gives way: browsers open one to spare.
                spare = [held for held in self.session if held.buffer is None]
                if not spare:
                    return
                spare[0].close()
                self.session.remove(spare[0])
            connection, address = self.socket.accept()
        connection.setblocking(False)
        self.session.append(Connection(self, connection, address[0], line))

    def handle(self):
        """Do what can be done now, for `step_ms` or one piece; return whether it was anything."""
        if self.socket is None and not self.is_off:
            try:
                self.begin()
            except OSError as e:
                if e.errno != uerrno.EADDRINUSE:
                    raise  # it may pass
                # The application has a server of its own on this port.
                self.is_off = True
                log.error("web: there is no page: port: %s", e)
        try:
            if self.poll:
                for _ in self.poll.ipoll(0):
                    self.take()
                    self._is_short = False
        except MemoryError:
            if not self._is_short:  # said once
                self._is_short = True
                log.error("web: no memory for a connection")
            # Whoever waits for it is not kept waiting.
            self.socket.accept()[0].close()
        busy = False
        if self.session:
            end = after(self.ota.settings.get("step_ms", 25))
            while True:
                busy = False
                for connection in list(self.session):
                    busy = (connection.tcp and connection.step()) or busy
                    if connection.tcp is None:
                        self.session.remove(connection)
                if not busy or is_past(end):
                    break
            if not self.session:
                self.ota.unload()
        return busy
