"""Application images put together member by member, with whatever is wrong in them."""

import hashlib
import struct

# Name, mode, uid, gid, size, mtime, checksum, type, link, magic, version, uname, gname, devmajor,
# devminor, prefix: POSIX 1003.1.
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
END = bytes(1024)


def header(name: bytes, size: int, *, kind: bytes = b"0", link: bytes = b"", prefix: bytes = b"",
           magic: bytes = b"ustar\0", size_field: bytes | None = None) -> bytes:  # fmt: skip
    """Give a ustar header with the right checksum."""
    number = b"0000000\0"
    size_field = b"%011o\0" % size if size_field is None else size_field
    block = bytearray(
        _HEADER.pack(
            name, b"0000644\0", number, number, size_field, b"%011o\0" % 0, b" " * 8, kind,
            link, magic, b"00", b"", b"", number, number, prefix,
        )
    )  # fmt: skip
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: bytes | str, content: bytes = b"", **fields: bytes) -> bytes:
    """Give a member: header, content and padding."""
    name = name.encode() if isinstance(name, str) else name
    return header(name, len(content), **fields) + content + bytes(-len(content) % 512)


def file_line(name: bytes | str, content: bytes = b"") -> bytes:
    """Give the manifest's line for a file."""
    name = name.encode() if isinstance(name, str) else name
    return b"file %d %s %s" % (len(content), hashlib.sha256(content).hexdigest().encode(), name)


def manifest(sequence: int, *files: bytes) -> bytes:
    """Give a good manifest with the `file` lines *files*."""
    facts = [b"mpota 1", b"name small", b"version 1", b"sequence %d" % sequence, b"board esp8266"]
    return b"\n".join([*facts, *files]) + b"\n"


def image(manifest_text: bytes, *members: bytes) -> bytes:
    """Give an image of a manifest and members, with a good end."""
    return member("MANIFEST", manifest_text) + b"".join(members) + END
