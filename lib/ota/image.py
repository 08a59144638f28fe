"""Application images: POSIX tars whose first member is MANIFEST. Format: docs/SPEC.md.

Read from a stream, block by block, in memory that does not depend on the image's size.
"""

from binascii import hexlify
from hashlib import sha256

from micropython import const

from .errors import OTAError

_BLOCK = const(512)
_MAX_NAME = const(100)
_MAX_MANIFEST = const(65536)
# Folders are made and removed one in the other; the chip's stack ends after a few dozen.
_MAX_PARTS = const(8)

_DAMAGED = const(37)
_BAD_MANIFEST = const(38)
_BAD_NAME = const(39)
_MISMATCH = const(40)

# First parts of names that mean something else at the top of the board's file system.
_RESERVED = const(("boot.py", "main.py", "ota.json", ".ota", "MANIFEST"))


def read_image(stream, buf, sink=None):
    """Read an image to its end, and check all of it against its MANIFEST; a generator.

    *stream* has `readinto` and `readline`; *buf* is a memoryview of at least 512 bytes. *sink*, if
    given, gets every member: `open(name)`, `write(view)` as often as needed, `close()`. Yields
    after every block; its value (`m = yield from …`) is the Manifest. Raises OTAError.
    """
    if _header(stream, buf) is None:
        raise OTAError(_DAMAGED, "empty")
    reader = yield from _read_manifest(stream, buf, sink)
    manifest = reader.manifest
    found = sha256()
    names = {}
    files = 0
    left = manifest.total_bytes
    while True:
        member = _header(stream, buf)
        if member is None:
            break
        name, size_bytes = member
        _check_name(name, names)
        files += 1
        left -= size_bytes
        if left < 0 or files > manifest.files:
            raise OTAError(_MISMATCH, name)
        if sink:
            sink.open(name)
        digest = yield from _read_member(stream, buf, size_bytes, sink)
        if sink:
            sink.close()
        found.update(b"file %d %s %s\n" % (size_bytes, digest, name.encode()))
    if _header(stream, buf) is not None:
        raise OTAError(_DAMAGED, "no end")
    if not reader.matches(found):
        raise OTAError(_MISMATCH, "%d listed, %d found" % (manifest.files, files))
    return manifest


def _read_manifest(stream, buf, sink):
    name, left = _member(buf)
    if name != "MANIFEST":
        raise OTAError(_BAD_MANIFEST, "not the first file")
    if left > _MAX_MANIFEST:
        raise OTAError(_BAD_MANIFEST, "larger than %d bytes" % _MAX_MANIFEST)
    from .manifest import ManifestReader

    padding = -left % _BLOCK
    reader = ManifestReader()
    if sink:
        sink.open(name)
    while left:
        line = reader.read_line(stream, left)
        reader.take(line)
        if sink:
            sink.write(line)
        left -= len(line)
        yield
    if sink:
        sink.close()
    reader.check()
    _fill(stream, buf[:padding])
    return reader


def _read_member(stream, buf, size_bytes, sink):
    padding = -size_bytes % _BLOCK
    digest = sha256()
    while size_bytes:
        part = buf[: min(size_bytes, len(buf))]
        _fill(stream, part)
        digest.update(part)
        if sink:
            sink.write(part)
        size_bytes -= len(part)
        yield
    _fill(stream, buf[:padding])
    return hexlify(digest.digest())


def _fill(stream, view):
    # Reads exactly as much as fits.
    done = 0
    while done < len(view):
        n = stream.readinto(view[done:])
        if not n:
            raise OTAError(_DAMAGED, "cut off")
        done += n


def _header(stream, buf):
    # Returns (name, size in bytes) of the member that starts here, or None for a block of zeros.
    block = buf[:_BLOCK]
    _fill(stream, block)
    if not max(block):
        return None
    return _member(block)


def _member(block):
    if bytes(block[257:262]) != b"ustar" or _octal(block[148:156]) != (
        sum(block[:_BLOCK]) - sum(block[148:156]) + 8 * 32
    ):
        raise OTAError(_DAMAGED, "not a tar")
    raw = bytes(block[:_MAX_NAME])
    end = raw.find(b"\0")
    if end >= 0:
        raw = raw[:end]
    for c in raw:
        # Also keeps what is not text out of the error's own text.
        if not (45 <= c <= 57 or 65 <= c <= 90 or c == 95 or 97 <= c <= 122):
            raise OTAError(_BAD_NAME, "character %d" % c)
    name = raw.decode()
    if block[345]:
        raise OTAError(_BAD_NAME, "longer than %d" % _MAX_NAME)
    if block[156] not in (0, 48):  # "0": a regular file
        raise OTAError(_DAMAGED, "not a file: " + name)
    return name, _octal(block[124:136])


def _octal(field):
    # Ends with a space or a zero byte; begins with neither, but that it may be nothing at all.
    if field[0] == 32:
        raise OTAError(_DAMAGED, "not a tar")
    value = 0
    for c in field:
        if c in (0, 32):
            break
        if not 48 <= c <= 55:
            raise OTAError(_DAMAGED, "not a tar")
        value = value * 8 + c - 48
    return value


def _check_name(name, seen):
    parts = name.split("/")
    if len(parts) > _MAX_PARTS:
        raise OTAError(_BAD_NAME, "folders too deep: " + name)
    if parts[0] in _RESERVED or "" in parts or "." in parts or ".." in parts:
        raise OTAError(_BAD_NAME, name)
    # 30 bits of a digest stand for the name: a small int, where the name itself costs a string.
    mark = int.from_bytes(sha256(name).digest()[:4], "little") >> 2
    # Eight sets at most: no one of them grows so long that no free piece of the heap fits.
    marks = seen.get(mark & 7)
    if marks is None:
        marks = seen[mark & 7] = set()
    if mark in marks:
        raise OTAError(_BAD_NAME, "twice: " + name)
    marks.add(mark)
