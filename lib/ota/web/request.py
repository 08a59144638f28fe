"""Read a request to the update page, and decide whether it is allowed. Loaded when one comes, and
unloaded before the password is asked for. Protocol: docs/SPEC.md.

RAM: about 1.5 KB while loaded.
"""

from micropython import const

from ..clock import after, is_past
from ..http import Head, HTTPError

# How long the head of a request may take.
_HEAD_MS = const(5000)
# The least that a client must send on average after the first minute: 1 byte a millisecond.
_GRACE_MS = const(60000)
_LONGEST_MS = const(200000)

# Bytes of the body of a request that brings no update.
_SMALL_BYTES = const(256)
# If the length of a body is not known, this much is read before the connection is closed.
_SOME_BYTES = const(65536)

# The headers that are used.
_NAMES = const(
    b" host origin authorization accept accept-encoding content-type content-length "
    b"transfer-encoding expect x-md5 x-sha256 "
)


def read(connection, line):
    """Read the request that begins with *line*; return how to answer it, and what must be proved.

    The result is the module and the name of the function that answers, its arguments after the
    connection, and (method, target, header Authorization), or None if no password is needed. A
    generator. Raises OSError when the client has gone.
    """
    try:
        return (yield from _read(connection, line))
    except HTTPError as e:
        return "say", e.args, None


def _read(connection, line):
    late_at = after(_HEAD_MS)
    if len(line) > len(connection.buffer):
        raise HTTPError(414, "the first line is too long")
    connection.buffer[: len(line)] = line
    head = Head(connection.buffer, _NAMES, len(line))
    while not head.read(connection.tcp):
        if is_past(late_at):
            raise HTTPError(408, "the request took too long")
        yield False
    fields = head.fields
    connection.filled = head.filled
    method, target, version = _words(head.line)
    connection.is_head = method == b"HEAD"
    connection.wants_json = b"application/json" in fields.get(b"accept", b"")
    size = _expect_body(connection, fields)
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise HTTPError(505, "not HTTP/1.1")
    _check_origin(connection.web.ota, fields)
    mark = target.find(b"?")
    path = target if mark < 0 else target[:mark]
    query = b"" if mark < 0 else target[mark + 1 :]
    name, methods, is_open = _route(connection.web, path)
    if method.decode() not in methods.split(", "):
        raise HTTPError(405, "use " + methods, "Allow: %s\r\n" % methods)
    if method == b"POST" and size is None:
        raise HTTPError(411, "Content-Length is missing")
    if size and size > _SMALL_BYTES and (method != b"POST" or path != b"/update"):
        raise HTTPError(413, "a body of %d bytes at most" % _SMALL_BYTES)
    proof = None if is_open else (method, target, fields.pop(b"authorization", None))
    if name == "answers.page" and method == b"POST":
        return "receive", (query, fields), proof
    return name, (method, path, query, fields), proof


def _words(line):
    words = line.split(b" ")
    if len(words) != 3 or words[1][:1] != b"/" or min(words[1]) < 33 or max(words[1]) > 126:
        raise HTTPError(400, "not a request")
    if not words[0] or max(words[0]) > 126:
        raise HTTPError(400, "no method")
    return words


def _expect_body(connection, fields):
    # Returns the length of the body, and sets it at the connection; None if it is not announced.
    size = fields.get(b"content-length")
    is_chunked = b"transfer-encoding" in fields
    if size is not None and not (size.isdigit() and len(size) < 10):
        raise HTTPError(400, "Content-Length is no number")
    count = _SOME_BYTES if is_chunked else int(size or 0)
    connection.filled = min(connection.filled, count)
    connection.left = count - connection.filled
    connection.late_at = after(_GRACE_MS + min(count, _LONGEST_MS))
    if is_chunked:
        raise HTTPError(411, "Content-Length is needed")
    return None if size is None else count


def _check_origin(ota, fields):
    # A page of another server must not make a browser send requests here. The browser tells the
    # server in Origin; if that server's name points at this board's address, Host tells it.
    host = fields.get(b"host", b"").lower()
    colon = host.find(b":")
    name = host[:colon] if colon >= 0 and host[colon + 1 :].isdigit() else host
    hostname = ota.settings["hostname"].lower().encode()
    # If another host has this name, the board's name in mDNS has a number behind it.
    local = ota.mdns.name if ota.mdns else hostname
    if name not in (ota.address.encode(), hostname, hostname + b".local", local + b".local"):
        raise HTTPError(403, "this board is not the host that the request is for")
    if fields.get(b"origin", b"http://" + host).lower() != b"http://" + host:
        raise HTTPError(403, "requests from other pages are not answered")


def _route(web, path):
    # Returns the name of the function that answers, the allowed methods, and whether no password is
    # needed.
    if web.routes and path in web.routes:
        return "answers.application", "GET, HEAD, POST", web.routes[path][1]
    if path == b"/update":
        return "answers.page", "GET, HEAD, POST", False
    if path == b"/update/status":
        return "report.status", "GET, HEAD", False
    if path in (b"/update/confirm", b"/update/reject", b"/update/revert", b"/update/restart"):
        return "act.act", "POST", False
    if path == b"/":
        return "answers.go_to_page", "GET, HEAD", True
    raise HTTPError(404, "there is nothing here; the update page is /update")
