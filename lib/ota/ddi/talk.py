"""An exchange with hawkBit: a request by the pull client, with the headers that hawkBit wants, and
the values that are needed from its answer, which is JSON. RAM: about 0.5 KB while loaded, beside
the request.
"""

from micropython import const
from ubinascii import hexlify
from ujson import loads

from ..errors import OTAError

# The limits of an answer: its bytes, and how deep its objects and arrays are nested.
_LONGEST = const(2048)
_DEEPEST = const(12)

_NO_JSON = const("no JSON that counts")

_NOT_MODIFIED = const(304)

_NO_HTTP = const(-7)
_WRONG_CODE = const(-104)
_NO_DDI = const(-110)


def asking(session, path, body, wanted):
    """Ask the server for *path* of this board, or send *body* there, a text.

    A generator whose value are those of *wanted*, as `scanning` gives them; None where nothing is
    wanted, or nothing has changed. Raises OTAError.
    """
    service = session.service
    get = service.ota.settings.get
    board = get("ddi_id")
    if not board:
        from ..hal import macs

        board = hexlify(macs()[0]).decode()
        macs = None
        service.ota.unload("ota.hal")
    url = "%s/controller/v1/%s%s" % (session.url.rstrip("/"), board, path)
    session.token = ""
    for kind in ("Gateway", "Target"):
        token = get("ddi_%s_token" % kind.lower())
        if token:
            session.token = "Authorization: %sToken %s" % (kind, token)
    lines = b"User-Agent: mpota\r\nConnection: close\r\n"
    if session.token:
        lines += b"%s\r\n" % session.token
    if not path and service.validator:
        lines += b"If-None-Match: %s\r\n" % service.validator
    body = body.encode()
    if body:
        session.method = "PUT" if path == "/configData" else "POST"
        lines += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
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
    session.method = "GET"  # again, for the download
    session.tail = b"\r\n"
    service.ota.unload("ota.pull.request", "ota.http")
    if url:
        raise OTAError(_WRONG_CODE, "it redirects")
    if not wanted or session.status == _NOT_MODIFIED and not path:
        return None
    try:
        return (yield from scanning(session, wanted))
    except (ValueError, TypeError) as e:
        raise OTAError(_NO_DDI, str(e))


def scanning(session, wanted):
    """Take values out of JSON as it arrives, without the rest of it.

    *wanted* are names, bytes, with a space before and behind each. A value's name is that of what
    it is in, a point, and its own; nothing stands for the place in an array, and for what is in
    one: "a." and ".b" for {"a": [{"b": 1}]}. A generator whose value is the list of the values;
    None for what is not there. Of several of one name the last counts; of objects and arrays, how
    many there are. Raises ValueError, or TypeError, for what cannot be read.
    """
    from ..pull.body import reading

    values = [None] * (wanted.count(b" ") - 1)
    block = session.block
    view = memoryview(block)
    outer = []  # the names of the objects and arrays that are open
    kinds = b""  # what each of them is, as its bracket
    name = b""  # of the value that is to come
    is_name = False  # whether a name is to come
    filled = size = 0
    while True:
        n = yield from reading(session, view[filled:])
        size += n
        filled += n
        at = 0
        while at < filled:
            c = block[at]
            stop = at
            if c == 34:
                while True:
                    stop = block.find(b'"', stop + 1, filled)
                    slash = stop
                    while slash > 0 and block[slash - 1] == 92:
                        slash -= 1
                    if stop < 0 or not (stop - slash) & 1:
                        break
                if stop < 0:
                    break
                stop += 1
                if is_name:
                    name = bytes(view[at + 1 : stop - 1])
                    at = stop
                    continue
            elif c > 44 and c not in b":[]{}":
                while stop < filled and block[stop] not in b",]} \t\r\n":
                    stop += 1
                if stop == filled:
                    break
            elif c != 123 and c != 91:
                at += 1
                if c == 58:
                    is_name = False
                elif c == 44:
                    is_name = kinds[-1:] == b"{"
                elif c > 32:
                    if kinds[-1:] != (b"{" if c == 125 else b"[" if c == 93 else None):
                        raise ValueError(_NO_JSON)
                    kinds = kinds[:-1]
                    outer.pop()
                    if not outer:
                        return values
                    name = b""
                continue
            # A value is here, from *at* to *stop*, or begins, as an object or array.
            place = wanted.find(b" " + outer[-1] + b"." + name + b" ") if outer else -1
            place = wanted.count(b" ", 0, place) if place >= 0 else -1
            if stop > at:
                if not outer:
                    raise ValueError(_NO_JSON)
                if place >= 0:
                    values[place] = loads(bytes(view[at:stop]))
                at = stop
                continue
            if place >= 0:
                values[place] = (values[place] or 0) + 1
            if len(outer) == _DEEPEST:
                raise ValueError(_NO_JSON)
            outer.append(name)
            kinds += b"{" if c == 123 else b"["
            name = b""
            is_name = c == 123
            at += 1
        filled -= at
        view[:filled] = view[at : at + filled]
        if not n or size > _LONGEST or filled == len(block):
            raise ValueError("no end within %d bytes" % size)
        yield True
