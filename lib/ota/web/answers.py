"""The answers to all requests but uploads: the page, the status, what the page's buttons do, and
the routes of the application. Protocol: docs/SPEC.md.

RAM: about 1.2 KB while loaded.
"""

import sys

import uerrno
from micropython import const

from .. import log
from ..errors import OTAError

_HTML = const("text/html; charset=utf-8")
# For clients that take no gzip, and where the page itself is not there.
_PLAIN_PAGE = const(
    "<!DOCTYPE html><title>Update</title><form method=post enctype=multipart/form-data>"
    "<input type=file name=image> <button>Update</button></form>\n"
)
_POLICY = const(
    "Content-Security-Policy: default-src 'self' 'unsafe-inline' data:; frame-ancestors 'none'\r\n"
)

_RUNNING = const(15)


# Each is a generator, and so does nothing before the request's own modules are given back.


def go_to_page(connection, method, path, query, fields):
    """Answer where the page is."""
    yield from connection.say(302, "see /update", "Location: /update\r\n")


def page(connection, method, path, query, fields):
    """Answer with the page."""
    found = _PLAIN_PAGE
    headers = _POLICY
    if b"gzip" in fields.get(b"accept-encoding", b""):
        for folder in sys.path:  # it lies beside this package
            try:
                found = open(folder + "/ota/web/page.html.gz", "rb")
                headers = "Content-Encoding: gzip\r\n" + _POLICY
                break
            except OSError as e:
                if e.errno != uerrno.ENOENT:
                    raise
    yield from connection.answer(200, found, _HTML, headers)


def status(connection, method, path, query, fields):
    """Answer with what the board says of itself, in JSON."""
    from ujson import dumps

    ota = connection.web.ota
    updater = ota.updater
    if updater:
        size = updater.progress + updater.remaining
        found = {"state": "updating", "done": updater.progress, "size": size}
    elif ota.is_updating:  # and the restart is near
        found = {"state": "updating"}
    else:
        from ..status import facts

        found = dict(facts(ota))
        found["hostname"] = ota.settings["hostname"]
        found["space"] = ota.free_space()
        found["open"] = not connection.is_proved
        found["before"] = _before(ota)
    yield from connection.answer(200, dumps(found), "application/json")


def _before(ota):
    # The version that revert() would try; None: there is none, as far as the marks tell.
    from .. import slots
    from ..record import load

    boot_record = load()
    if boot_record and not boot_record.trial and slots.is_accepted(boot_record.idle):
        try:
            return slots.manifest_of(boot_record.idle)["version"]
        except OTAError:
            pass  # what is in that slot is not whole
    return None


def act(connection, method, path, query, fields):
    """Confirm, reject, revert or restart, as *path* ends."""
    code, text, restarts = _act(connection.web.ota, path[8:])
    yield from connection.say(code, text)
    if restarts:
        yield from connection.linger()
        log.info("web: restart")
        from ..hal import reset

        reset()


def _act(ota, action):
    # Returns the HTTP status, what is answered, and whether the board restarts then.
    if ota.is_updating:
        return 409, str(OTAError(_RUNNING)), False
    if not ota.trial and action in (b"confirm", b"reject"):
        return 409, "no version is on trial", False
    if action == b"confirm":
        if ota.confirm():
            return 200, "confirmed", False
        return 409, "not confirmed: see the board's log", False
    if action != b"restart":
        from .. import trial

        try:
            if ota.trial:
                trial.take_back("the owner wished it")
            else:
                trial.try_before()
        except OTAError as e:
            return 409, str(e), False
        except OSError as e:
            return 500, "the flash has failed: %s" % e, False
    return 200, "the board restarts", True


class Request:
    """A request for a route of the application."""

    def __init__(self, method, path, query, body):
        self.method = method  # "GET", "HEAD" or "POST"
        self.path = path  # as "/values"
        self.query = query  # what follows the "?", as it was sent; "": nothing
        self.body = body  # of a POST, bytes


def application(connection, method, path, query, fields):
    """Answer with what the application's function returns."""
    body = bytearray(connection.filled + connection.left)
    view = memoryview(body)
    at = connection.filled
    view[:at] = memoryview(connection.buffer)[:at]
    while at < len(body):
        n = connection.readinto(view[at:])
        at += n or 0
        yield bool(n)
    handler, _ = connection.web.routes[path]
    try:
        answer = handler(Request(method.decode(), path.decode(), query.decode(), bytes(body)))
    except Exception as e:
        sys.print_exception(e)
        yield from connection.say(500, "the application has failed")
        return
    if not isinstance(answer, tuple):
        answer = (answer, _HTML)
    yield from connection.answer(answer[2] if len(answer) > 2 else 200, answer[0], answer[1])
