"""Application images made by hand, good and bad, for the tests that run on the board."""

import io
from binascii import hexlify
from hashlib import sha256


def header(name, size, kind=b"0", prefix=b"", magic=b"ustar\x0000", **fields):
    """Return a tar header: *name* and *prefix* as bytes; *fields* are offsets to overwrite.

    The checksum is made last, so that it is right whatever else is wrong.
    """
    block = bytearray(512)
    for at, value in (
        (0, name),
        (100, b"0000644\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, size if isinstance(size, bytes) else b"%011o\0" % size),
        (136, b"00000000000\0"),
        (156, kind),
        (257, magic),
        (345, prefix),
    ):
        block[at : at + len(value)] = value
    return with_checksum(block)


def with_checksum(block):
    """Return *block*, a header, with the right checksum, as bytes."""
    block = bytearray(block)
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name, data, **fields):
    """Return header, content and padding of one member; *fields* are those of `header`."""
    return header(name.encode(), len(data), **fields) + data + bytes(-len(data) % 512)


def file_line(name, data):
    """Return the line of MANIFEST for the file *name*, with its newline."""
    return b"file %d %s %s\n" % (len(data), hexlify(sha256(data).digest()), name.encode())


def manifest(files, sequence=7, more=b""):
    """Return the text of a MANIFEST for *files*, a list of (name, content)."""
    text = b"mpota 1\nname sample\nversion 1.2.3\nsequence %d\nboard esp8266\n" % sequence
    return text + more + b"".join([file_line(name, data) for name, data in files])


def image(files, sequence=7, more=b""):
    """Return a good image of *files*, a list of (name, content)."""
    parts = [member("MANIFEST", manifest(files, sequence, more))]
    parts += [member(name, data) for name, data in files]
    return b"".join(parts) + bytes(1024)


APP = b"def main(ota):\n    pass\n"
FILES = [("app.py", APP), ("lib/valves.py", bytes(range(256)) * 5), ("empty", b"")]


class Sink:
    """Keeps what `read_image` delivers, in `files`: a list of (name, content)."""

    def __init__(self):
        self.files = []
        self.is_open = False

    def open(self, name):
        assert not self.is_open
        self.is_open = True
        self.files.append((name, b""))

    def write(self, view):
        assert self.is_open
        name, data = self.files[-1]
        self.files[-1] = (name, data + bytes(view))

    def close(self):
        assert self.is_open
        self.is_open = False


def read(data, sink=None, buffer_bytes=1460):
    """Read *data* as an image; return its Manifest. Raises what `read_image` raises."""
    from ota.image import read_image

    steps = read_image(io.BytesIO(data), memoryview(bytearray(buffer_bytes)), sink)
    while True:
        try:
            next(steps)
        except StopIteration as e:
            return e.value


def code_of(function, *args):
    """Return the number of the OTAError that the call raises; None when it raises nothing."""
    from ota.errors import OTAError

    try:
        function(*args)
    except OTAError as e:
        return e.code
    return None
