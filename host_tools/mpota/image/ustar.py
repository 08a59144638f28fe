"""A plain POSIX tar, with nothing but regular files: one member in bytes, and all of a file's.

The bytes are those of POSIX 1003.1 ustar, without extensions, so that any tar lists an image and
a board reads it with one 512-byte buffer.
"""

import re
import struct
from collections.abc import Iterator

from mpota.errors import CommandError

BLOCK = 512
# name, mode, uid, gid, size, mtime, checksum, type, linkname, magic, version, uname, gname,
# devmajor, devminor, prefix.
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_CHECKSUM = slice(148, 156)
_OCTAL = re.compile(rb"([0-7]+)[ \0]*")
_REMEDY = "pack the application again"


def damaged(what: str) -> CommandError:
    """Make the error for an image that is not whole."""
    return CommandError(f"not a good application image, {what}: {_REMEDY}")


def member(name: str, content: bytes) -> bytes:
    """Give a file's header and content, filled up to whole blocks."""
    number, size = b"0000000\0", b"%011o\0" % len(content)
    mode, mtime, blank = b"0000644\0", b"%011o\0" % 0, b""
    fields = [name.encode("ascii"), mode, number, number, size, mtime, b" " * 8, b"0", blank]
    fields += [b"ustar\0", b"00", blank, blank, number, number, blank]
    header = bytearray(_HEADER.pack(*fields))
    header[_CHECKSUM] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % BLOCK)


def members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) for each member; raise CommandError for all but regular files."""
    at = 0
    while len(header := data[at : at + BLOCK]) == BLOCK:
        if not any(header):
            if len(data) >= at + 2 * BLOCK and not any(data[at : at + 2 * BLOCK]):
                return
            break
        fields = _HEADER.unpack(header)
        unsigned = sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ")
        size, checksum = _OCTAL.fullmatch(fields[4]), _OCTAL.fullmatch(fields[6])
        if not fields[9].startswith(b"ustar") or not checksum or int(checksum[1], 8) != unsigned:
            raise damaged("it is no tar, or a header in it is damaged")
        name = fields[0].rstrip(b"\0").decode("ascii", "replace")
        if fields[7] not in (b"0", b"\0") or any(fields[15]) or not size:
            raise damaged(f"{name!r} is no regular file")
        start, end = at + BLOCK, at + BLOCK + int(size[1], 8)
        if end > len(data):
            break
        yield name, data[start:end]
        at = end + -int(size[1], 8) % BLOCK
    raise damaged("it is cut short")
