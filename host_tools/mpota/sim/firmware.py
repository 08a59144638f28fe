"""A stand-in for MicroPython's firmware: it has the layout of the real file, and cannot run.

The simulated board starts MicroPython's unix port whatever firmware its flash holds.
"""

import hashlib
import struct

from mpota.board.firmware_file import PARTITION_BYTES, PARTITION_START
from mpota.board.flash import MAPPED_AT

VERSION, DATE = "v1.28.0", "2026-04-06"
SEGMENTS = ((0x40100000, 0x6A00), (0x3FFE8000, 0x0480), (0x3FFE8480, 0x1100))
_CODE_BYTES = 0x8B000
_INIT_DATA = bytes.fromhex("05000402050505020500040505040505") + bytes(range(112))


def stand_in_firmware(
    *,
    version: str = VERSION,
    has_partition: bool = True,
    segments: tuple[tuple[int, int], ...] = SEGMENTS,
    code_bytes: int = _CODE_BYTES,
) -> bytes:
    """Return a file with the header, segments, length and MD5 of a firmware.

    *has_partition* is whether it is the build with ROMFS; *segments* are addresses and sizes.
    """
    parts = [struct.pack("<BBBBI", 0xE9, len(segments), 0, 0x40, segments[0][0] + 4)]
    checksum = 0xEF
    for address, size in segments:
        content = _filler(f"segment {address:#x}", size)
        for byte in content:
            checksum ^= byte
        parts += [struct.pack("<II", address, size), content]
    head = b"".join(parts)
    head += bytes(15 - len(head) % 16) + bytes([checksum])
    code = _code(version, has_partition)
    code += _filler("code", code_bytes - len(code))
    length = 0x9000 + len(code)
    data = head.ljust(0x8FFC, b"\xff") + struct.pack("<I", length) + code
    return data + hashlib.md5(data[4:]).digest()


def _code(version: str, has_partition: bool) -> bytes:
    # The constants that the check of a firmware looks for.
    code = _INIT_DATA + f"MicroPython {version} on {DATE}; ESP module with ESP8266\0".encode()
    code += bytes(-len(code) % 4)
    if has_partition:
        address = MAPPED_AT + PARTITION_START
        code += b"VfsRom\0\0" + struct.pack("<IIII", 0x3FFE8100, 0x42, PARTITION_BYTES, address)
    return code


def _filler(seed: str, size: int) -> bytes:
    # Neither blank nor all the same, and as compressible as code is: about one half.
    block = hashlib.sha256(seed.encode()).digest()
    blocks = (
        block[:16] + hashlib.md5(struct.pack("<I", n)).digest() for n in range(size // 32 + 1)
    )
    return b"".join(blocks)[:size]
