"""Methods of the update page, a Web, that are seldom called: this is loaded for each such call.

RAM: about 0.7 KB while loaded.
"""

import uerrno
import uselect
import usocket
from micropython import const

from .. import log

# How many connections may wait to be accepted.
_BACKLOG = const(4)


def begin(web):
    """Listen for connections. Raises OSError when the port is taken."""
    if web.socket is None:
        port = web.ota.settings.get("web_port", 80)
        listener = usocket.socket(usocket.AF_INET, usocket.SOCK_STREAM)
        listener.setblocking(False)
        try:
            listener.setsockopt(usocket.SOL_SOCKET, usocket.SO_REUSEADDR, 1)
            listener.bind(("", port))
            listener.listen(_BACKLOG)
            poll = uselect.poll()
            poll.register(listener, uselect.POLLIN)
        except Exception:
            listener.close()
            raise
        web.socket, web.poll = listener, poll
        log.info("web: http://%s:%d/update", web.ota.address, port)
    web.is_off = False


def start(web):
    """Begin, if the settings ask for the page. Raises OSError for errors that may pass."""
    try:
        begin(web)
    except OSError as e:
        if e.errno != uerrno.EADDRINUSE:
            raise
        # The application has its own server on this port.
        web.is_off = True
        log.error("web: there is no page: port: %s", e)


def end(web):
    """Close all connections, and stop listening until `begin`; an update is discarded."""
    web.is_off = True
    while web.session:
        web.session.pop().close()  # if its own callback has called this, `serve` closes it
    if web.socket:
        web.socket.close()
        web.socket = web.poll = None


def route(web, path, handler, is_open=False):
    """Answer requests for *path*, as "/values", by `handler(request)`: see docs/APPLICATION.md.

    The password that the page has is asked for, unless *is_open*.
    """
    web.routes = web.routes or {}
    web.routes[path.encode()] = (handler, is_open)


def take(web, connection, address, line=b""):
    """Serve the socket *connection*, which another server on this board has accepted.

    *address* is its client's (IP address, port), *line* what was read from it. It is closed when it
    has been served.
    """
    from .connection import Connection

    try:
        connection.setblocking(False)
        web.session.append(Connection(web, connection, address[0], line))
    except Exception:
        connection.close()
        raise


def turn_away(web):
    """Close a connection for which there is no memory, so that its client does not wait."""
    if web.socket:  # none, if another server on this board accepts the connections
        try:
            web.socket.accept()[0].close()
        except OSError:
            pass
