"""A question to a server, from the look-up of its name to the head of its reply; redirects too.

Loaded until the head is there. RAM: about 1.5 KB while loaded.
"""

import gc

import uerrno
from micropython import const
from uselect import POLLIN, POLLOUT, poll
from usocket import AF_INET, SOCK_STREAM, getaddrinfo, socket

from ..clock import is_past
from ..errors import OTAError
from ..http import Head, HTTPError

_VALIDATOR_LIMIT = const(79)  # what resume.py keeps: without importing it
_SIP_BYTES = const(128)
# If a name server does not answer, lwIP asks it four times in this time, and gives up.
_LOOK_UP_MS = const(7000)
_MAX_REDIRECTS = const(10)
_REDIRECTS = const((301, 302, 303, 307, 308))

_WANTED = const(
    b" content-length transfer-encoding content-range location etag last-modified retry-after "
    b"x-md5 x-version "
)

_NOT_CONNECTED = const(-1)
_LOST = const(-5)
_NO_HTTP = const(-7)
_NO_RAM = const(-8)
_NOT_FOUND = const(-102)
_FORBIDDEN = const(-103)
_WRONG_CODE = const(-104)
_UNAUTHORIZED = const(-108)
_NO_VERSION = const(-109)


def asking(session, url, start, shared, end, redirects):
    """Ask the server at *url*, and note its reply in the session.

    The session's block has headers: up to *shared* those that go to every server, up to *end* those
    for the session's own one alone; behind them is room for the session's tail. *start* is the byte
    of the file that is asked for; *redirects* that many have been followed. A generator whose value
    is the address that the server redirects to, or None. Raises OTAError with a number below 0,
    also for a reply that brings neither an image nor the answer that there is none.
    """
    service = session.service
    mode = service.redirects or service.ota.settings.get("update_redirects", "none")
    is_secure, host, port, path = split(url)
    if split(session.url)[:3] != (is_secure, host, port):
        end = shared
    yield from _connect(session, is_secure, host, port)
    if port != (443 if is_secure else 80):
        host = "%s:%d" % (host, port)
    block = session.block
    tail = session.tail
    block[end : end + len(tail)] = tail
    end += len(tail)
    first = b"%s %s HTTP/1.0\r\nHost: %s\r\n" % (session.method, path, host)
    view = memoryview(block)
    n = len(first)
    if n + end <= len(block):  # in one packet, which some servers insist on
        view[n : n + end] = view[:end]
        view[:n] = first
        end += n
    else:
        yield from _flush(session, memoryview(first))
    first = None
    yield from _flush(session, view[:end])
    view = None
    fields = yield from _read(session)
    location = _parse(fields, b"location")
    if session.status not in _REDIRECTS or mode == "none" or not location:
        _judge(session, start, fields)
        return None
    session.close_tcp()
    if redirects == _MAX_REDIRECTS:
        raise OTAError(_WRONG_CODE, "too many redirects")
    url = join(url, location)
    if is_secure and not split(url)[0]:
        raise OTAError(_WRONG_CODE, "redirected from https to http")
    return url


def split(url):
    """Return (whether it is https, host, port, path with query) of *url*. Raises OTAError -1."""
    is_secure = url[:8] == "https://"
    if not is_secure and url[:7] != "http://":
        raise OTAError(_NOT_CONNECTED, "the address must begin with http:// or https://")
    for c in url.encode():  # as bytes: each character of a text would become a name
        if not 33 <= c <= 126:
            raise OTAError(_NOT_CONNECTED, "the address has a character that must be escaped")
    rest = url[8 if is_secure else 7 :].split("#", 1)[0]
    at = len(rest)
    for c in "/?":
        found = rest.find(c)
        if 0 <= found < at:
            at = found
    host, path = rest[:at], rest[at:]
    port = 443 if is_secure else 80
    if ":" in host:
        host, digits = host.split(":", 1)
        if not digits.isdigit() or not 0 < int(digits) < 65536:
            raise OTAError(_NOT_CONNECTED, "the address has no good port")
        port = int(digits)
    if not host or "@" in host:
        raise OTAError(_NOT_CONNECTED, "the address has no good host name")
    return is_secure, host, port, path if path[:1] == "/" else "/" + path


def join(url, location):
    """Return the full address for *location*, the target of a redirect from *url*."""
    scheme = location.split("://", 1)[0]
    if scheme != location and not ("/" in scheme or "?" in scheme):
        return location
    scheme, rest = url.split("://", 1)
    if location[:2] == "//":
        return scheme + ":" + location
    rest = rest.split("#", 1)[0].split("?", 1)[0]
    if location[:1] == "/":
        return scheme + "://" + rest.split("/", 1)[0] + location
    if "/" not in rest:
        rest += "/"
    return scheme + "://" + rest[: rest.rfind("/") + 1] + location


def _connect(session, is_secure, host, port):
    service = session.service
    if service.address[0] != host:
        _be_patient(service, _LOOK_UP_MS)
        try:
            address = getaddrinfo(host, port)[0][-1][0]  # which blocks
        except OSError as e:
            raise OTAError(_NOT_CONNECTED, "%s: no address: %s" % (host, e))
        service.address = (host, address)
    try:
        session.tcp = tcp = socket(AF_INET, SOCK_STREAM)
        session.poll = poll()
        session.poll.register(tcp, POLLOUT)
        tcp.setblocking(False)
        try:
            tcp.connect((service.address[1], port))
        except OSError as e:
            if e.errno != uerrno.EINPROGRESS:
                raise
        session.listen()
        is_connected = False
        while not is_connected:
            for _, events in session.poll.ipoll(0):
                if events & ~POLLOUT:
                    raise OSError(uerrno.ECONNREFUSED)
                is_connected = True
            if not is_connected:
                if is_past(session.deadline):
                    raise OSError(uerrno.ETIMEDOUT)
                yield False
    except OSError as e:
        service.address = (None, None)  # it may have moved
        raise OTAError(_NOT_CONNECTED, str(e))
    if is_secure:
        _shake_hands(session, host)
    session.poll.modify(tcp, POLLIN)


def _be_patient(service, ms):
    # During a trial the application may ask for a version: a call that blocks in the chip's C code
    # must not look like a hang to the watchdog.
    if service.ota.watchdog:
        service.ota.watchdog.feed(ms)


def _shake_hands(session, host):
    # This blocks, and it proves nothing: this chip checks no certificate.
    import tls

    tcp = session.tcp
    gc.collect()
    _be_patient(session.service, session.service.timeout_ms)
    try:
        tcp.settimeout(session.service.timeout_ms / 1000)
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_NONE
        session.tcp = context.wrap_socket(tcp, server_hostname=host)
        session.tcp.setblocking(False)
    except MemoryError:
        tcp.close()
        raise OTAError(_NO_RAM, "the TLS handshake needs more: %d bytes free" % gc.mem_free())
    except (OSError, ValueError) as e:
        tcp.close()
        raise OTAError(_NOT_CONNECTED, "TLS handshake: %s" % e)


def _flush(session, request):
    # A generator.
    at = 0
    session.listen()
    while at < len(request):
        try:
            n = session.tcp.write(request[at:])
        except OSError as e:
            raise OTAError(_LOST, str(e))
        at += n or 0
        if not n:
            yield from session.waiting()


def _read(session):
    # Gives the session the reply's status, and what of the body has come with its head; a generator
    # whose value are the headers.
    head = Head(session.block, _WANTED)
    stream = _Reader(session.tcp)
    session.listen()
    filled = 0
    try:
        while not head.read(stream):
            if head.filled != filled:
                filled = head.filled
                session.listen()
            yield from session.waiting()
    except HTTPError as e:
        raise OTAError(_NO_HTTP, e.args[1])
    except OSError as e:
        raise OTAError(_LOST, str(e))
    words = head.line.split(None, 2)
    if len(words) < 2 or words[0][:5] != b"HTTP/" or len(words[1]) != 3 or not words[1].isdigit():
        raise OTAError(_NO_HTTP)
    session.status = int(words[1])
    session.rest = memoryview(session.block)[: head.filled]
    return head.fields


class _Reader:
    # A connection of which little is read at a time: of what follows the head, little is to be held
    # until the update has begun. It seems to have nothing more after each, since a head of 8 KB is
    # too much for one step.
    has_read = False

    def __init__(self, tcp):
        self.tcp = tcp

    def readinto(self, view):
        self.has_read = not self.has_read
        return self.tcp.readinto(view[:_SIP_BYTES]) if self.has_read else None


def _judge(session, start, fields):
    # Tells the session what the reply means.
    status = session.status
    session.wait_s = _number(fields, b"retry-after") or 0
    if status in (401, 403, 404):
        code = _UNAUTHORIZED if status == 401 else _FORBIDDEN if status == 403 else _NOT_FOUND
        raise OTAError(code, "HTTP %d" % status)
    if status == 304:
        return
    if session.mode == "version" and status == 200:
        session.service.version = _parse(fields, b"x-version")
        if not session.service.version:
            raise OTAError(_NO_VERSION)
        return
    if status != 200 and not (start and status in (206, 416)):
        raise OTAError(_WRONG_CODE, "HTTP %d" % status)
    validator = fields.get(b"etag") or fields.get(b"last-modified") or b""
    if (
        len(validator) > _VALIDATOR_LIMIT
        or validator
        and not 32 <= min(validator) <= max(validator) < 127
    ):
        validator = b""  # it cannot be kept, or not be sent back in a header
    validator = validator.decode()
    session.left = _number(fields, b"content-length")
    session.start = _start(session, start, validator, fields) if start else 0
    session.is_chunked = b"chunked" in fields.get(b"transfer-encoding", b"").lower()
    if session.is_chunked:
        session.left = 0
    elif session.start == 0:
        session.size = session.left
    session.validator = validator
    session.md5 = _parse(fields, b"x-md5")


def _start(session, start, validator, fields):
    # Where the file begins that the server has sent: at *start*, if it is the rest of the very file
    # that was asked for, at 0 if it is all of a file, else -1.
    if session.status == 200:
        return 0
    place = session.place
    words = fields.get(b"content-range", b"").replace(b"-", b" ").replace(b"/", b" ").split()
    if (
        validator == place.validator
        and words == [b"bytes", b"%d" % start, b"%d" % (place.size - 1), b"%d" % place.size]
        and session.left == place.size - start
    ):
        session.size = place.size
        return start
    return -1


def _parse(fields, name):
    # The value of a header, as text; "" where there is none, or one that is no text.
    try:
        return fields.get(name, b"").decode()
    except UnicodeError:
        return ""


def _number(fields, name):
    value = fields.get(name, b"")
    return int(value) if value.isdigit() else None
