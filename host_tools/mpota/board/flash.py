"""The image of a board's whole flash: made and read on the host.

The map is that of the stock MicroPython build FLASH_2M_ROMFS with a flash of 4 MiB. The partition
from SYSTEM_START on, and all before it, is mapped into the chip's memory at MAPPED_AT.

    0x0B0000  system ROM: a ROMFS with the package, which the firmware mounts at /rom
    0x0CE000  slot a: an application image
    0x0E7000  slot b
    0x100000  littlefs, to 20 KiB before the end

A slot's last page holds its marks: `accepted` and `rejected`, 4 bytes each, at its very end.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from littlefs import LittleFSError

from mpota import image
from mpota.board import record
from mpota.errors import CommandError, DamagedImageError
from mpota.image import littlefs

FLASH_SIZE_BYTES = 4 * 1024 * 1024
FLASH_SIZES_BYTES = tuple(n * 1024 * 1024 for n in (2, 4, 8, 16))  # of the boards that can be used
SECTOR_BYTES = 4096
PAGE_BYTES = 256
MAPPED_AT = 0x40200000
SYSTEM_START, SYSTEM_BYTES = 0x0B0000, 120 * 1024
SLOT_STARTS = MappingProxyType({"a": 0x0CE000, "b": 0x0E7000})
SLOT_BYTES = 100 * 1024
IMAGE_LIMIT_BYTES = SLOT_BYTES - PAGE_BYTES
FILE_SYSTEM_START = 1024 * 1024
SDK_BYTES = 20 * 1024  # at the end of the flash, for the SDK's own data
FILE_SYSTEM_END = FLASH_SIZE_BYTES - SDK_BYTES

_ERASED = b"\xff"
_ACCEPTED = b"ACPT"
_MARK_BYTES = 4
# The last page of a slot whose image is marked as accepted and not as rejected.
ACCEPTED_PAGE = (_ACCEPTED + _ERASED * _MARK_BYTES).rjust(PAGE_BYTES, _ERASED)


class Slot(NamedTuple):
    """What lies in a slot; `image` is None where no complete image lies there."""

    image: bytes | None
    accepted: bool
    rejected: bool


def create_flash(
    path: Path,
    files: Mapping[str, bytes],
    *,
    system: bytes = b"",
    slots: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Write a flash image to *path* whose file system holds *files* (absolute name → content).

    *system* is the content of the system ROM; *slots* maps "a" and "b" to application images,
    which are marked as accepted. Raises CommandError where something is too large.
    """
    flash = bytearray(_ERASED * FLASH_SIZE_BYTES)
    _put(flash, SYSTEM_START, system, SYSTEM_BYTES, "the system ROM")
    for letter, data in slots.items():
        start = SLOT_STARTS[letter]
        _put(flash, start, data, IMAGE_LIMIT_BYTES, f"the image for slot {letter}")
        flash[start + SLOT_BYTES - PAGE_BYTES : start + SLOT_BYTES] = ACCEPTED_PAGE
    size = FILE_SYSTEM_END - FILE_SYSTEM_START
    flash[FILE_SYSTEM_START:FILE_SYSTEM_END] = littlefs.build(files, size)
    path.write_bytes(flash)


def read_flash(path: Path) -> dict[str, bytes]:
    """Return every file of the image's file system: absolute name → content.

    Raises CommandError when there is no readable file system in it.
    """
    try:
        return littlefs.read(_read(path)[FILE_SYSTEM_START:-SDK_BYTES])
    except LittleFSError as e:
        raise CommandError(f"{path} holds no littlefs: delete it to make a new one ({e})") from e


def read_slot(path: Path, letter: str) -> Slot:
    """Return what lies in slot *letter* of the flash image at *path*.

    The length of the image is that of the file that was received, as the boot record has it. If
    that does not fit, the image ends with its footer.
    """
    start = SLOT_STARTS[letter]
    slot = _read(path)[start : start + SLOT_BYTES]
    accepted, rejected = slot[-2 * _MARK_BYTES : -_MARK_BYTES], slot[-_MARK_BYTES:]
    found = _whole_image(slot[:IMAGE_LIMIT_BYTES], _received_bytes(path, letter))
    return Slot(found, accepted == _ACCEPTED, rejected != _ERASED * _MARK_BYTES)


def _whole_image(slot: bytes, received_bytes: int) -> bytes | None:
    try:
        footer_end = image.size_bytes(slot)
    except DamagedImageError:
        return None
    # The record may hold the size of an earlier image in this slot.
    for size in (received_bytes, footer_end):
        try:
            image.read(slot[:size])
        except DamagedImageError:
            continue
        return slot[:size]
    return None


def _received_bytes(path: Path, letter: str) -> int:
    """Return the size that the boot record has for a slot; 0 where there is none."""
    found = record.Record.parse(read_flash(path).get(record.NAME, b""))
    return getattr(found, letter).size_bytes if found else 0


def _read(path: Path) -> bytes:
    flash = path.read_bytes()
    if len(flash) not in FLASH_SIZES_BYTES:
        raise CommandError(
            f"{path} is {len(flash)} bytes, not a flash image of 2, 4, 8 or 16 MiB: "
            "name another file, or delete this one to make a new one"
        )
    return flash


def _put(flash: bytearray, start: int, data: bytes, limit: int, what: str) -> None:
    if len(data) > limit:
        raise CommandError(
            f"{what} has {len(data)} bytes, and there is room for {limit}: make it smaller"
        )
    flash[start : start + len(data)] = data
