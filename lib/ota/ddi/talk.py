"""An exchange with hawkBit: a request of pull's, with the headers that hawkBit wants, and what the
answer has. RAM: about 0.6 KB while loaded, beside the request.
"""

from micropython import const
from ubinascii import hexlify

from .. import hal
from ..errors import OTAError

_LONGEST = const(2048)  # bytes, of an answer

_NOT_MODIFIED = const(304)

_NO_HTTP = const(-7)
_WRONG_CODE = const(-104)
_NO_DDI = const(-110)


def exchanging(session, path, body, wanted):
    """Ask the server for *path* of this board, or send *body* there, a text.

    A generator whose value are the values of *wanted*, which is as in scan.Scan; None where nothing
    is wanted, or nothing has changed. Raises OTAError.
    """
    service = session.service
    get = service.ota.settings.get
    board = get("ddi_id") or hexlify(hal.macs()[0]).decode()
    url = "%s/controller/v1/%s%s" % (session.url.rstrip("/"), board, path)
    session.method = ("POST" if path[-4:] == "back" else "PUT") if body else "GET"
    session.token = ""
    for kind in ("Gateway", "Target"):
        token = get("ddi_%s_token" % kind.lower())
        if token:
            session.token = "Authorization: %sToken %s" % (kind, token)
    lines = "User-Agent: mpota\r\nConnection: close\r\n"
    if session.token:
        lines += session.token + "\r\n"
    if not path and service.etag:
        lines += "If-None-Match: %s\r\n" % service.etag
    body = body.encode()
    if body:
        lines += "Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    lines = lines.encode()
    session.tail = b"\r\n" + body
    if session.block is None:
        session.block = service.new_block()
    end = len(lines)
    if end + len(session.tail) > len(session.block):
        raise OTAError(_NO_HTTP, "the request is too long")
    session.block[:end] = lines
    lines = body = None
    from ..pull.request import asking

    url = yield from asking(session, url, 0, 0, end, 0)
    asking = None
    service.ota.unload("ota.pull.request", "ota.http", "ota.pull.resume")
    if url:
        raise OTAError(_WRONG_CODE, "a redirect")
    if not wanted or session.status == _NOT_MODIFIED and not path:
        return None
    from .scan import Scan

    scan = Scan(wanted)
    view = memoryview(session.block)
    filled = size = 0
    try:
        while not scan.is_over:
            n = yield from session.reading(view[filled:])
            size += n
            filled += n
            taken = scan.take(session.block, filled)
            filled -= taken
            view[:filled] = view[taken : taken + filled]
            if not n or size > _LONGEST or filled == len(view):
                raise ValueError("no end within %d bytes" % size)
            yield True
    except (ValueError, TypeError) as e:
        raise OTAError(_NO_DDI, str(e))
    return scan.values
