"""Images that are sent as a gzip (RFC 1952); a board unpacks them as they arrive."""

import struct
import zlib

from mpota.errors import DamagedImageError

MAGIC = b"\x1f\x8b"
# The header of a gzip whose window is small enough for the decoder in the board's MicroPython:
# deflate, FEXTRA, no time, best compression, unknown system. The extra field "MP" has 1 byte, the
# logarithm of the window's size.
_HEAD = b"\x1f\x8b\x08\x04\0\0\0\0\x02\xff\x05\0MP\x01\0"
_WINDOW_BITS = 10
_LEVEL = 9
_TRAILER = struct.Struct("<II")  # CRC, size
_ANY_GZIP = 15 + 16  # window and format, for zlib


def compress(data: bytes) -> bytes:
    """Return a gzip of `data`: the same bytes for the same data."""
    made = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW_BITS)
    body = made.compress(data) + made.flush()
    trailer = _TRAILER.pack(zlib.crc32(data), len(data))
    return _HEAD + bytes([_WINDOW_BITS]) + body + trailer


def unpack(data: bytes) -> tuple[bytes, bytes]:
    """Return the content of the gzip that `data` begins with, and the bytes behind it.

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
