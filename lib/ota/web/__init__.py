"""The update page's listener, on port 80. Protocol: docs/SPEC.md.

This module waits for connections. connection.py serves them, and is loaded when one comes; calls.py
holds the methods that an application calls. RAM: about 800 bytes.
"""

from .. import Callbacks, check_room, log


class Web(Callbacks):
    """Serves the update page and takes its updates, for the application *ota*.

    Of ota.settings: `web_port` (80), `web_user` ("mpota"), and `web_password`, or `web_ha1_sha256`
    and `web_ha1_md5`. Codes of `on_error`: 1 begin, 3 receive, 4 end. Its methods beside `handle`
    are `begin`, `end`, `route` and `take`: see calls.py.
    """

    # Whether an update is running; true until its client has been told the result.
    is_updating = False
    # What the application has registered: path → (function, whether it needs no password), or None.
    routes = None
    # Wrong passwords and nonces, for auth.py; None: nobody has been asked for a password.
    guard = None
    # Whether the application has called `end`: the page stays off until it calls `begin`.
    is_off = True
    # The TCP socket, None while the page is off, and the poll object that tells of connections.
    socket = poll = None
    is_short = False  # of memory, which has been said

    def __init__(self, ota):
        self.ota = ota
        self.session = []  # the connections that are open, each a connection.Connection

    def __getattr__(self, name):
        from . import calls

        function = getattr(calls, name)

        def call(*args, **kwargs):
            try:
                return function(self, *args, **kwargs)
            finally:
                self.ota.unload("ota.web.calls")

        return call

    def handle(self):
        """Do what can be done now, for `step_ms` or one piece; return whether that was anything."""
        if self.socket is None and not self.is_off:
            self.start()
        is_wanted = bool(self.session)
        if self.poll:
            for _ in self.poll.ipoll(0):
                is_wanted = True
        if not is_wanted:
            return False
        try:
            check_room()
            from .connection import serve

            return serve(self)
        except MemoryError:
            if not self.is_short:  # said once
                self.is_short = True
                log.error("web: no memory for a connection")
            try:
                self.turn_away()
            except MemoryError:
                pass  # the client waits until there is memory
            return False
