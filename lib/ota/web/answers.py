"""Answers with a page: the board's update page, or the application's. Protocol: docs/SPEC.md.

RAM: about 0.8 KB while loaded.
"""

import sys

import uerrno
from micropython import const

_HTML = const("text/html; charset=utf-8")
# A plain form, for clients that take no gzip, and if the file with the page is missing.
_PLAIN_PAGE = const(
    "<!DOCTYPE html><title>Update</title><form method=post enctype=multipart/form-data>"
    "<input type=file name=image> <button>Update</button></form>\n"
)
_POLICY = const(
    "Content-Security-Policy: default-src 'self' 'unsafe-inline' data:; frame-ancestors 'none'\r\n"
)


def go_to_page(connection, method, path, query, fields):
    """Redirect the client to the update page."""
    yield from connection.say(302, "see /update", "Location: /update\r\n")


def page(connection, method, path, query, fields):
    """Answer with the page."""
    found = _PLAIN_PAGE
    headers = _POLICY
    if b"gzip" in fields.get(b"accept-encoding", b""):
        for folder in sys.path:  # the file lies beside this package
            try:
                found = open(folder + "/ota/web/page.html.gz", "rb")
                headers = "Content-Encoding: gzip\r\n" + _POLICY
                break
            except OSError as e:
                if e.errno != uerrno.ENOENT:
                    raise
    yield from connection.answer(200, found, _HTML, headers)


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
