"""The two slots: regions of the memory-mapped flash, each for one application image.

docs/SPEC.md describes images and the marks of a slot. Everything is read back through the flash
controller, since the memory map may still show older content of its cache. RAM: about 1 KB while
loaded.
"""

import vfs
from micropython import const
from uctypes import bytearray_at
from uhashlib import sha256

from . import hal
from .errors import OTAError

_READ_FAILED = const(3)
_BAD_MANIFEST = const(38)

_MAPPED_AT = const(0x40200000)
_SLOT_A = const(0xCE000)
_SLOT_BYTES = const(0x19000)
_SECTOR = const(4096)
# The last page of a slot is for its marks, of four bytes each.
MARKS_SECTOR_AT = const(_SLOT_BYTES - _SECTOR)
IMAGE_LIMIT_BYTES = const(_SLOT_BYTES - 256)
_ACCEPTED_AT = const(_SLOT_BYTES - 8)
_REJECTED_AT = const(_SLOT_BYTES - 4)
_ACCEPTED = const(b"ACPT")
_REJECTED = const(b"RJCT")

# The first bytes of an image, which hold the whole MANIFEST.
HEAD_BYTES = const(768)
_MANIFEST_LIMIT = const(512)
_LINE_LIMIT = const(128)  # bytes of a line of it, the newline included
_MAX_SEQUENCE = const(0x3FFFFFFF)
FOOTER_BYTES = const(40)


def start(slot):
    """Return where in flash *slot* begins, in bytes."""
    return _SLOT_A + (_SLOT_BYTES if slot == "b" else 0)


def erase_marks(slot):
    """Erase the last sector of *slot*, with its marks."""
    hal.flash_erase((start(slot) + MARKS_SECTOR_AT) // _SECTOR)


def spoil_accepted(slot):
    """Overwrite the mark `accepted`, so that the image in *slot* is not usable any more.

    Call this before the marks are erased: a power cut during the erase could remove the mark
    `rejected` and leave `accepted`.
    """
    _mark(slot, _ACCEPTED_AT, b"\0\0\0\0")


def mark_accepted(slot):
    """Mark the image in *slot* as accepted: it has passed every check. Raises OTAError 3."""
    _mark(slot, _ACCEPTED_AT, _ACCEPTED)
    if not is_accepted(slot):
        raise OTAError(_READ_FAILED, "mark of slot " + slot)


def mark_rejected(slot):
    """Mark the image in *slot* as rejected: it must not be used any more."""
    _mark(slot, _REJECTED_AT, _REJECTED)


def _mark(slot, at, data):
    hal.flash_write(start(slot) + at, bytearray(data))  # from RAM: a constant is in flash


def is_accepted(slot):
    """Return whether *slot* is marked as accepted and not as rejected."""
    marks = bytearray(8)
    hal.flash_read(start(slot) + _ACCEPTED_AT, marks)
    return marks[:4] == _ACCEPTED and not is_rejected(slot)


def is_rejected(slot):
    """Return whether *slot* is marked as rejected, be it by a mark that a power cut has damaged."""
    mark = bytearray(4)
    hal.flash_read(start(slot) + _REJECTED_AT, mark)
    return mark != b"\xff\xff\xff\xff"


def is_whole(slot, buffer):
    """Return whether the ROMFS in *slot*, read back from flash, has the digest of its footer.

    *buffer* is a bytearray to read into, a multiple of 4 bytes long.
    """
    begin = start(slot)
    head = buffer[:16]
    hal.flash_read(begin, head)
    length = romfs_bytes(head)
    if not 0 < length <= IMAGE_LIMIT_BYTES - FOOTER_BYTES:
        return False
    digest = sha256()
    view = memoryview(buffer)
    for at in range(0, length, len(buffer)):
        part = view[: min(len(buffer), length - at)]
        hal.flash_read(begin + at, part)
        digest.update(part)
    footer = bytearray(FOOTER_BYTES)
    hal.flash_read(begin + length, footer)
    return is_footer(footer, length, digest.digest())


def is_footer(data, length, digest):
    """Return whether *data* is the footer of a ROMFS of *length* bytes with SHA-256 *digest*."""
    return (
        data[:4] == b"MPOF"
        and int.from_bytes(data[4:8], "little") == length
        and data[8:FOOTER_BYTES] == digest
    )


def digest_of(slot):
    """Return the SHA-256 in the footer of the image in *slot*; b"" if there is none."""
    head = bytearray(FOOTER_BYTES)
    hal.flash_read(start(slot), head)
    length = romfs_bytes(head)
    if not 0 < length <= IMAGE_LIMIT_BYTES - FOOTER_BYTES:
        return b""
    hal.flash_read(start(slot) + length, head)
    return head[8:] if head[:4] == b"MPOF" else b""


def is_usable(slot, buffer):
    """Return whether *slot* can be run: accepted, not rejected, and whole."""
    return is_accepted(slot) and is_whole(slot, buffer)


def mount(slot):
    """Mount *slot* at /app, to run in place; only after a reset does the memory map show it."""
    view = bytearray_at(_MAPPED_AT + start(slot), _SLOT_BYTES)
    vfs.mount(vfs.VfsRom(view), "/app")


def decode_uint(data, at):
    """Return the number at *at* in *data*, written as in a ROMFS, and where it ends.

    Raises ValueError if it has more than 28 bits, or does not end within *data*.
    """
    value = 0
    for i in range(at, min(at + 5, len(data))):
        value = value << 7 | data[i] & 0x7F
        if data[i] < 0x80:
            if value >> 28:
                break
            return value, i + 1
    raise ValueError


def romfs_bytes(head):
    """Return the length of the ROMFS that begins with *head*, a multiple of 4; 0: not a ROMFS."""
    if head[:3] != b"\xd2\xcd\x31":
        return 0
    try:
        size, at = decode_uint(head, 3)
    except ValueError:
        return 0
    return at + size + 3 & ~3


def read_manifest(head):
    """Return what the MANIFEST in *head* says, a dict of text; "sequence" is a number.

    *head* is a memoryview or bytearray of the first HEAD_BYTES of an image. Raises OTAError 38
    where MANIFEST is not the image's first file, or not what docs/SPEC.md says.
    """
    try:
        _, at = decode_uint(head, 3)
        kind, at = decode_uint(head, at)
        _, at = decode_uint(head, at)
        length, at = decode_uint(head, at)
        name = bytes(head[at : at + length])
        data_kind, at = decode_uint(head, at + length)
        length, at = decode_uint(head, at)
    except ValueError:
        raise OTAError(_BAD_MANIFEST, "cut off")
    if (kind, name, data_kind) != (5, b"MANIFEST", 2) or at + length > len(head):
        raise OTAError(_BAD_MANIFEST, "not the first file")
    return _parse(bytes(head[at : at + length]))


def _parse(text):
    if len(text) > _MANIFEST_LIMIT or text[-1:] != b"\n":
        raise OTAError(_BAD_MANIFEST, "too long or cut off")
    found = {}
    for number, line in enumerate(text[:-1].split(b"\n")):
        where = "line %d" % (number + 1)
        if not 0 < len(line) < _LINE_LIMIT or min(line) < 32 or max(line) > 126:
            raise OTAError(_BAD_MANIFEST, where + ": not plain text, or too long")
        if number == 0:
            if line != b"mpota 2":
                raise OTAError(_BAD_MANIFEST, "not 'mpota 2'")
            continue
        words = line.decode().split(" ")
        key = words[0]
        if key == "keep" and key not in found:
            found[key] = words[1:]
        elif key in ("name", "version", "sequence", "board", "mpy", "downgrade", "data", "keep"):
            if len(words) != 2 or not 0 < len(words[1]) <= 32 or key in found:
                raise OTAError(_BAD_MANIFEST, where + ": " + key)
            found[key] = words[1]
    sequence = found.get("sequence", "")
    if not ("name" in found and "version" in found and sequence.isdigit() and len(sequence) <= 10):
        raise OTAError(_BAD_MANIFEST, "name, version or sequence missing")
    found["sequence"] = int(sequence)
    if not 0 < found["sequence"] <= _MAX_SEQUENCE:
        raise OTAError(_BAD_MANIFEST, "sequence")
    return found


def manifest_of(slot):
    """Return what the MANIFEST of *slot*, read back from flash, says. Raises OTAError 38."""
    head = bytearray(HEAD_BYTES)
    hal.flash_read(start(slot), head)
    return read_manifest(head)
