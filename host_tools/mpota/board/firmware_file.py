"""MicroPython's firmware for the ESP8266: its file's format, checked before a byte is written.

The format is that of MicroPython's ports/esp8266/makeimg.py:

    0x000000  header and segments, which the boot ROM loads into RAM and ends with a checksum
    0x008FFC  length of everything before the MD5, 4 bytes, little-endian
    0x009000  code that runs in place
    length    MD5 of everything before, but for the first 4 bytes, which esptool may change
"""

import hashlib
import re
import struct
from dataclasses import dataclass

from mpota.board.flash import FILE_SYSTEM_START, MAPPED_AT, SYSTEM_START
from mpota.errors import CommandError

# The ROMFS partition of the build, which holds the system ROM and the slots.
PARTITION_START = SYSTEM_START
PARTITION_BYTES = FILE_SYSTEM_START - SYSTEM_START

FIRMWARE = b"\xe9"  # the first byte of every file for the boot ROM
_SEGMENTS_BYTES = 0x9000
_LENGTH_AT = _SEGMENTS_BYTES - 4
_MD5_BYTES = 16
_CHECKSUM_START = 0xEF
# The RAM that the boot ROM may load segments to: for instructions, and for data.
_RAM = (range(0x40100000, 0x40108000), range(0x3FFE8000, 0x40000000))
# The address of Arduino's boot loader in RAM. Every sketch for the ESP8266 begins with this loader.
_ARDUINO_LOADER = 0x4010F000
_MODES = ("QIO", "QOUT", "DIO", "DOUT")
_SIZES = (
    "512 KiB",
    "256 KiB",
    "1 MiB",
    "2 MiB",
    "4 MiB",
    "2 MiB",
    "4 MiB",
    "4 MiB",
    "8 MiB",
    "16 MiB",
)
_BANNER = re.compile(rb"MicroPython (v[0-9][0-9A-Za-z.+-]*) on ([0-9-]{10})")
# Length and address of the partition, as they stand in the firmware's constant memoryview of it.
_PARTITION = struct.pack("<II", PARTITION_BYTES, MAPPED_AT + PARTITION_START)
_ROMFS_NAME = b"VfsRom\0"
_BUILD = "ESP8266_GENERIC-FLASH_2M_ROMFS"
# The beginning of the SDK's calibration data. The firmware holds all 128 bytes of them.
_INIT_DATA_START = bytes.fromhex("05000402050505020500040505040505")
_INIT_DATA_BYTES = 128


@dataclass(frozen=True)
class Firmware:
    """A firmware file that is whole and fits; *version* and *date* come from its banner."""

    data: bytes
    version: str
    date: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def init_data(self) -> bytes:
        """Return the SDK's calibration data, which the firmware writes where it finds none.

        Raises CommandError when it is not in the firmware.
        """
        at = self.data.find(_INIT_DATA_START)
        while at >= 0 and at % 4:
            at = self.data.find(_INIT_DATA_START, at + 1)
        if at < 0:
            raise CommandError(
                "this firmware lacks the calibration data that a board with more than 4 MiB of "
                f"flash needs: take an official {_BUILD}"
            )
        return self.data[at : at + _INIT_DATA_BYTES]


def first_firmware(flash: bytes) -> bytes:
    """Return the firmware at the beginning of *flash*; the firmware itself holds its length."""
    (length,) = struct.unpack_from("<I", flash, _LENGTH_AT)
    return flash[: length + _MD5_BYTES]


def check_firmware(data: bytes, name: str) -> Firmware:
    """Return the firmware in *data*. Raises CommandError, which names the file as *name*."""
    if data[:1] != FIRMWARE:
        raise CommandError(
            f"{name} is not firmware (it does not begin with the byte 0xE9): give the .bin file of "
            f"{_BUILD}"
        )
    _check_segments(data, name)
    banner = _BANNER.search(data)
    length = struct.unpack_from("<I", data, _LENGTH_AT)[0] if len(data) > _LENGTH_AT + 3 else 0
    is_whole = len(data) == length + _MD5_BYTES
    if banner is None and not is_whole:
        raise CommandError(
            f"{name} is firmware for an ESP8266, but not MicroPython's (an Arduino sketch?), or it "
            f"is cut short: give the .bin file of {_BUILD}"
        )
    if not is_whole:
        raise CommandError(
            f"{name} has {len(data)} bytes, and should have {length + _MD5_BYTES} by its header: "
            "it is cut short or was changed, so download it again"
        )
    if hashlib.md5(data[4:length]).digest() != data[length:]:
        raise CommandError(f"{name} is damaged (its MD5 does not match): download it again")
    if banner is None:
        raise CommandError(f"{name} is not MicroPython: give the .bin file of {_BUILD}")
    version, date = banner[1].decode(), banner[2].decode()
    _check_partition(data, f"{name} (MicroPython {version})")
    if len(data) > PARTITION_START:
        raise CommandError(
            f"{name} has {len(data)} bytes and reaches into the ROMFS partition at "
            f"{PARTITION_START:#x}: give the .bin file of {_BUILD}"
        )
    return Firmware(data, version, date)


def describe(data: bytes, name: str) -> str:
    """Return a line that tells what a file that begins with 0xE9 is, and what to do with it.

    *data* is the file's content, *name* its name in the line.
    """
    if struct.unpack_from("<I", data.ljust(12), 8)[0] == _ARDUINO_LOADER:
        return (
            f"{name} is an Arduino sketch, and boards with mpota run MicroPython: send an "
            "application's directory; for a board that runs a sketch, give --classic"
        )
    try:
        firmware = check_firmware(data, name)
    except CommandError as error:
        return f"{error}; no firmware can be sent over the air yet"
    mode, size = data[2], data[3] >> 4
    if mode >= len(_MODES) or size >= len(_SIZES):
        return (
            f"{name} is made for a kind of flash that does not exist (header {data[2:4].hex()}): "
            "download it again"
        )
    return (
        f"{name} is MicroPython {firmware.version}, complete, for a flash of {_SIZES[size]} in "
        f"mode {_MODES[mode]}: boards take firmware over serial only, with 'mpota flash --firmware "
        f"{name}', since they have no boot loader yet that could replace it"
    )


def _check_segments(data: bytes, name: str) -> None:
    if len(data) < 8:
        raise CommandError(f"{name} is cut short ({len(data)} bytes): download it again")
    checksum, at = _CHECKSUM_START, 8
    for _ in range(data[1]):
        if at + 8 > min(len(data), _SEGMENTS_BYTES):
            raise CommandError(f"{name} ends within its segments: download it again")
        address, size = struct.unpack_from("<II", data, at)
        if not any(address in ram and address + size <= ram.stop for ram in _RAM):
            raise CommandError(
                f"{name} is not for an ESP8266 (it loads {size} bytes to {address:#x}; is it for "
                f"an ESP32?): give the .bin file of {_BUILD}"
            )
        for byte in data[at + 8 : at + 8 + size]:
            checksum ^= byte
        at += 8 + size
    end = at | 15  # the checksum is the last byte of a block of 16
    if end >= min(len(data), _SEGMENTS_BYTES):
        raise CommandError(f"{name} ends within its segments: download it again")
    if data[end] != checksum:
        raise CommandError(
            f"{name} is damaged (its segments have another checksum): download it again"
        )


def _check_partition(data: bytes, name: str) -> None:
    at = data.find(_PARTITION)
    while at >= 0 and at % 4:
        at = data.find(_PARTITION, at + 1)
    if at >= 0:
        return
    if _ROMFS_NAME in data:
        raise CommandError(
            f"{name} has its ROMFS partition at another place than {PARTITION_START:#x}: give the "
            f".bin file of {_BUILD}"
        )
    raise CommandError(
        f"{name} has no ROMFS partition, which the update services need: give the .bin file of "
        f"{_BUILD}"
    )
