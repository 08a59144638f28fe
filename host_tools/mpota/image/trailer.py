"""The end of a signed file: the signature, then its length as a little-endian u32.

Arduino's signing.py appends the same for the ESP8266. A signature is as long as its key's modulus,
here 128 to 512 bytes (keys of 1024 to 4096 bits).
"""

import struct

SHORTEST_BYTES, LONGEST_BYTES = 128, 512
_LENGTH = struct.Struct("<I")


def append(data: bytes, signature: bytes) -> bytes:
    """Return `data` with a trailer that holds `signature`."""
    return data + signature + _LENGTH.pack(len(signature))


def split(data: bytes) -> tuple[bytes, bytes | None]:
    """Split a file into the bytes that were signed and the signature, None without a trailer."""
    length = stated_length(data)
    if not SHORTEST_BYTES <= length <= LONGEST_BYTES or length + _LENGTH.size > len(data):
        return data, None
    end = len(data) - _LENGTH.size
    return data[: end - length], data[end - length : end]


def stated_length(data: bytes) -> int:
    """Return the signature's length as the last four bytes state it, whether it is true or not."""
    return _LENGTH.unpack(data[-_LENGTH.size :])[0] if len(data) >= _LENGTH.size else 0
