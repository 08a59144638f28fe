"""The end of a signed file: SIGNATURE, then its length as a little-endian u32.

It is what Arduino's signing.py appends for the ESP8266. The length of a signature is that of its
key's modulus, here 128 to 512 bytes (keys of 1024 to 4096 bits).
"""

import struct

SHORTEST_BYTES, LONGEST_BYTES = 128, 512
_LENGTH = struct.Struct("<I")


def append(data: bytes, signature: bytes) -> bytes:
    """Give `data` with `signature` behind it."""
    return data + signature + _LENGTH.pack(len(signature))


def split(data: bytes) -> tuple[bytes, bytes | None]:
    """Take a file apart into what was signed and the signature; None where it has no trailer."""
    length = stated_length(data)
    if not SHORTEST_BYTES <= length <= LONGEST_BYTES or length + _LENGTH.size > len(data):
        return data, None
    end = len(data) - _LENGTH.size
    return data[: end - length], data[end - length : end]


def stated_length(data: bytes) -> int:
    """Give what the last four bytes say of the signature's length, true or not."""
    return _LENGTH.unpack(data[-_LENGTH.size :])[0] if len(data) >= _LENGTH.size else 0
