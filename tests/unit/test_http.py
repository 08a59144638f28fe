"""The head of an HTTP message: read in pieces of any size, and never beyond its limits."""

from ota.http import Head, HTTPError
from ota.web.parameter import parameter

_NAMES = b" host content-length authorization "
_REQUEST = (
    b"POST /update?a=1 HTTP/1.1\r\n"
    b"Host: 192.168.4.1\r\n"
    b"Accept-Language: de, en;q=0.5\r\n"
    b"Cookie: " + b"c" * 700 + b"\r\n"
    b"CONTENT-length:  12 \r\n"
    b"X-Empty:\r\n"
    b"Authorization: Basic dTpw\r\n"
    b"\r\n"
)
_BODY = b"Host: body\n\n"


class Stream:
    """Returns one of *pieces* at each read, and nothing, once, between two of them."""

    def __init__(self, *pieces):
        self._pieces = list(pieces)
        self._is_dry = False

    def readinto(self, buffer):
        if self._is_dry or not self._pieces:
            self._is_dry = False
            return None
        piece = self._pieces[0]
        n = min(len(piece), len(buffer))
        buffer[:n] = piece[:n]
        if n == len(piece):
            self._pieces.pop(0)
            self._is_dry = True
        else:
            self._pieces[0] = piece[n:]
        return n


class Ended:
    def readinto(self, buffer):
        return 0


def _read(stream, size=512):
    # Reads a head through a buffer of *size* bytes; returns it, or the status of its refusal.
    head = Head(bytearray(size), _NAMES)
    try:
        for _ in range(20000):
            if head.read(stream):
                return head
    except HTTPError as e:
        return e.args[0]
    raise AssertionError("the head does not end")


def _is_right(head):
    assert head.line == b"POST /update?a=1 HTTP/1.1", head.line
    assert head.fields == {
        b"host": b"192.168.4.1",
        b"content-length": b"12",
        b"authorization": b"Basic dTpw",
    }, head.fields
    # As much of the body as came with the last line of the head.
    assert _BODY.startswith(bytes(head._buffer[: head.filled])), head._buffer[: head.filled]


def test_a_head_in_one_piece_is_read_and_the_body_left():
    head = _read(Stream(_REQUEST + _BODY), 2048)
    _is_right(head)
    assert head.filled == len(_BODY)


def test_every_split_of_a_request_into_two_reads_gives_the_same():
    whole = _REQUEST + _BODY
    for at in range(1, len(whole)):
        _is_right(_read(Stream(whole[:at], whole[at:]), 256))


def test_a_head_byte_by_byte_gives_the_same():
    pieces = [_REQUEST[i : i + 1] for i in range(len(_REQUEST))]
    _is_right(_read(Stream(*pieces), 64))


def test_line_feeds_alone_end_lines_as_well():
    _is_right(_read(Stream(_REQUEST.replace(b"\r\n", b"\n")), 256))


def test_the_first_line_must_fit_the_buffer():
    line = b"GET /%s HTTP/1.1\r\n\r\n"
    assert _read(Stream(line % (b"a" * 100)), 128).line == line[:-4] % (b"a" * 100)
    assert _read(Stream(line % (b"a" * 120)), 128) == 414
    assert _read(Stream(b"a" * 128), 128) == 414


def test_a_header_that_is_wanted_must_fit_the_buffer_and_others_need_not():
    long = b"x" * 1000 + b"\r\n\r\n"
    assert _read(Stream(b"GET / HTTP/1.1\r\nHost: " + long), 128) == 431
    assert _read(Stream(b"GET / HTTP/1.1\r\nhost:" + long), 128) == 431
    head = _read(Stream(b"GET / HTTP/1.1\r\nX-Host: " + long[:-2] + b"Host: a\r\n\r\n"), 128)
    assert head.fields == {b"host": b"a"}


def test_8_kb_of_headers_are_read_and_more_are_not():
    header = b"X-%02d: " + b"x" * 93 + b"\r\n"
    for count, status in ((80, None), (90, 431)):
        lines = b"".join([header % i for i in range(count)])
        head = _read(Stream(b"GET / HTTP/1.1\r\n" + lines + b"\r\n"))
        assert head == status if status else head.line == b"GET / HTTP/1.1", head
    # Nor does one line without an end go on for ever.
    assert _read(Stream(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000), 128) == 431


def test_what_is_no_header_is_refused():
    for line in (b"Host", b": value", b"Host : a", b" folded: a", b"\tfolded", b"a b: c", b"\0"):
        assert _read(Stream(b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n")) == 400, line
        assert _read(Stream(b"GET / HTTP/1.1\r\nA: b\r\n" + line + b"\r\n\r\n")) == 400, line


def test_two_headers_of_one_name_are_refused_unless_they_say_the_same():
    line = b"Content-Length: 12\r\n"
    assert _read(Stream(b"\r\n" + line + line + b"\r\n")).fields == {b"content-length": b"12"}
    assert _read(Stream(b"\r\n" + line + b"Content-Length: 13\r\n\r\n")) == 400


def test_the_end_of_the_stream_is_told():
    try:
        Head(bytearray(64), b"").read(Ended())
    except OSError:
        return
    raise AssertionError("no error")


def test_what_was_read_before_counts():
    buffer = bytearray(256)
    buffer[:5] = b"GET /"
    head = Head(buffer, _NAMES, 5)
    assert head.read(Stream(b" HTTP/1.1\r\nHost: a\r\n\r\nbody"))
    assert head.line == b"GET / HTTP/1.1" and head.fields == {b"host": b"a"}
    assert buffer[: head.filled] == b"body"


def test_a_parameter_is_found_whatever_stands_beside_it():
    digest = b'Digest username="a, nc=1", realm="x;y", nc=00000002,qop=auth, uri="/?a=1&b=2"'
    for name, value in (
        (b"username", b"a, nc=1"),
        (b"realm", b"x;y"),
        (b"nc", b"00000002"),
        (b"qop", b"auth"),
        (b"uri", b"/?a=1&b=2"),
        (b"a", None),
        (b"c", None),
    ):
        assert parameter(digest, name) == value, name
    form = b'form-data; name="image"; filename="a \\"b\\"; x=1.bin"'
    assert parameter(form, b"name") == b"image"
    assert parameter(form, b"filename") == b'a \\"b\\"; x=1.bin'
    assert parameter(form, b"x") is None
    assert parameter(b"multipart/form-data; BOUNDARY=--abc", b"boundary") == b"--abc"
    for broken in (b"", b"=", b'"', b'name="', b'name="\\"', b"name", b'="a"', b";=,"):
        assert not parameter(broken, b"name"), broken
