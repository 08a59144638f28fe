"""The form of the update page, with any content, and in pieces of any size."""

from ota.errors import OTAError
from ota.web.form import Form, is_too_large

_KIND = b"multipart/form-data; boundary=xyz"
# With what a delimiter is made of, at many places.
_IMAGE = b"\r\n--xy" + b"IMAGE\r\n\r\n--xy-\r\r\n-" * 4
_FORM = (
    b"before\r\n--xy"
    b'\r\n--xyz\r\nContent-Disposition: form-data; name="note"\r\n\r\n--xyz is no delimiter'
    b'\r\n--xyz\r\nContent-Disposition: form-data; name="filesystem"; filename=""\r\n\r\n'
    b'\r\n--xyz\r\nContent-Disposition: form-data; name="image"; filename="a.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + _IMAGE + b"\r\n"
    b'--xyz\r\nContent-Disposition: form-data; name="go"\r\n\r\nUpdate\r\n--xyz--\r\nafter'
)


class Body:
    """A connection whose body is *pieces*, of which the first has come with the head."""

    def __init__(self, first, *pieces):
        self.buffer = bytearray(512)
        self.buffer[: len(first)] = first
        self.filled = len(first)
        self._pieces = [memoryview(piece) for piece in pieces if piece]
        self.left = sum([len(piece) for piece in self._pieces])

    def readinto(self, view):
        if not self.left or not len(view):
            return 0
        piece = self._pieces[0]
        n = min(len(piece), len(view))
        view[:n] = piece[:n]
        self._pieces[0] = piece[n:]
        if n == len(piece):
            self._pieces.pop(0)
        self.left -= n
        return n


class Updater:
    """Collects the bytes that are written to it."""

    def __init__(self):
        self.buffer = memoryview(bytearray(1460))
        self.data = b""

    def writing(self, data):
        self.data += bytes(data)
        yield
        # What was given is not looked at again.
        data[:] = b"?" * len(data)


def _take(body, kind=_KIND):
    # Returns the command of the image, how large it is at most, and the image.
    form = Form(body, kind)
    command = _end(form.find())
    if command is None:
        return None
    size = form.image_bytes(command)
    updater = Updater()
    _end(form.receive(updater))
    return command, size, updater.data


def _end(steps):
    while True:
        try:
            next(steps)
        except StopIteration as e:
            return e.value


def _fails(body, kind=_KIND):
    try:
        _take(body, kind)
    except OTAError as e:
        return e.code
    raise AssertionError("it was taken")


def test_every_split_of_a_form_into_two_reads_gives_the_same_image():
    for at in range(len(_FORM)):
        first = _FORM[:at] if at <= 512 else b""
        rest = (_FORM[at:],) if at <= 512 else (_FORM[:at], _FORM[at:])
        command, size, image = _take(Body(first, *rest))
        assert (command, image) == (0, _IMAGE), at
        assert size >= len(_IMAGE)


def test_a_form_that_comes_byte_by_byte_gives_the_same_image():
    command, _, image = _take(Body(b"", *[bytes([c]) for c in _FORM]))
    assert (command, image) == (0, _IMAGE)


def test_a_form_that_is_cut_off_anywhere_is_no_image():
    end = _FORM.find(b"--xyz--") + 7
    for at in range(end):
        assert _fails(Body(b"", _FORM[:at])) == 37, at
    assert _take(Body(b"", _FORM[:end]))[2] == _IMAGE


def test_the_field_says_what_kind_of_update_it_is():
    start = b"--xyz\r\ncontent-disposition: form-data"
    for name, command in ((b"filesystem", 100), (b"firmware", 0), (b"x", 0), (b"", 0)):
        part = start + b'; name="' + name + b'"; filename="f"\r\n\r\ndata\r\n--xyz--'
        told, _, image = _take(Body(part))
        assert (told, image) == (command, b"data"), name


def test_a_form_without_a_file_has_no_image():
    for form in (
        b"--xyz--",
        b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\ntext\r\n--xyz--',
        b'--xyz\r\nContent-Disposition: form-data; name="a"; filename=""\r\n\r\n\r\n--xyz--',
    ):
        assert _take(Body(form)) is None, form


def test_the_size_of_an_image_is_no_more_than_a_slot_takes_unless_it_cannot_fit():
    head = b'--xyz\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n'
    for size in (102144, 103000):
        form = Form(Body(head, bytes(size), b"\r\n--xyz--\r\n"), _KIND)
        assert _end(form.find()) == 0 and form.image_bytes(0) == 102144, size
    form = Form(Body(head, bytes(105000)), _KIND)
    assert _end(form.find()) == 0 and form.image_bytes(0) > 102144
    form = Form(Body(head, bytes(200000)), _KIND)
    assert _end(form.find()) == 0 and form.image_bytes(100) == 200000  # data go into files
    assert is_too_large(5000000) and not is_too_large(104000)


def test_two_images_in_one_form_are_refused():
    part = b'--xyz\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\ndata\r\n'
    assert _fails(Body(part + part + b"--xyz--")) == 15


def test_a_boundary_must_be_there_and_short():
    for kind in (b"multipart/form-data", b"multipart/form-data; boundary=" + b"x" * 71,
                 b'multipart/form-data; boundary=""'):  # fmt: skip
        assert _fails(Body(b"--xyz--"), kind) == 13, kind
    boundary = b"x" * 70
    part = b'--%s\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n' % boundary
    body = Body(part + b"data\r\n--%s--" % boundary)
    assert _take(body, b"multipart/form-data; boundary=" + boundary)[2] == b"data"


def test_headers_of_a_part_that_do_not_fit_are_refused():
    assert _fails(Body(b"--xyz\r\nX: " + b"x" * 400, b"x" * 400)) == 37
