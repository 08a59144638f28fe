"""Images that are sent as a gzip (RFC 1952), which boards unpack on the way into a slot."""

import struct
import zlib

from mpota.errors import DamagedImageError

MAGIC = b"\x1f\x8b"
# The head of a gzip whose window is small enough for the chip's own decoder: deflate, FEXTRA, no
# time, best compression, unknown system; the field "MP" of 1 byte, the bits of the window.
_HEAD = b"\x1f\x8b\x08\x04\0\0\0\0\x02\xff\x05\0MP\x01\0"
_WINDOW_BITS = 10
_LEVEL = 9
_TRAILER = struct.Struct("<II")  # CRC, size
_ANY_GZIP = 15 + 16  # window and format, for zlib


def compress(data: bytes) -> bytes:
    """Give a gzip of `data`; the same bytes for the same data."""
    made = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW_BITS)
    body = made.compress(data) + made.flush()
    trailer = _TRAILER.pack(zlib.crc32(data), len(data))
    return _HEAD + bytes([_WINDOW_BITS]) + body + trailer


def unpack(data: bytes) -> tuple[bytes, bytes]:
    """Give what is in the gzip that `data` begins with, and what stands behind it.

    Raises DamagedImageError.
    """
    unpacking = zlib.decompressobj(_ANY_GZIP)
    try:
        content = unpacking.decompress(data)
    except zlib.error as error:
        raise DamagedImageError(f"the gzip is damaged: {error}") from error
    if not unpacking.eof:
        raise DamagedImageError("the gzip is cut short")
    return content, unpacking.unused_data
