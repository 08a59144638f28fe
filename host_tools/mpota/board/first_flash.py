"""What 'mpota flash' writes to a board, and what it erases: offset → content, offset → size."""

from collections.abc import Mapping

from mpota.board import files
from mpota.board.firmware_file import Firmware
from mpota.board.flash import (
    ACCEPTED_PAGE,
    FILE_SYSTEM_START,
    IMAGE_LIMIT_BYTES,
    SDK_BYTES,
    SECTOR_BYTES,
    SLOT_BYTES,
    SLOT_STARTS,
    SYSTEM_BYTES,
    SYSTEM_START,
)
from mpota.errors import CommandError
from mpota.image import littlefs

# On boards with at most this much flash, the firmware itself writes missing calibration data.
_LARGEST_CALIBRATED_BYTES = 4 * 1024 * 1024
_INIT_DATA_BEFORE_END = 4 * SECTOR_BYTES
_BLANK = b"\xff" * SECTOR_BYTES


def partition_regions(application: bytes | None) -> dict[int, bytes]:
    """Return the system ROM and, with an *application* image, slot a marked as accepted.

    Raises CommandError where one of them is too large.
    """
    system = files.system_rom()
    if len(system) > SYSTEM_BYTES:
        raise CommandError(
            f"the system ROM has {len(system)} bytes, and there is room for {SYSTEM_BYTES}: this "
            "version of mpota is broken, install another one"
        )
    regions = {SYSTEM_START: system}
    if application is not None:
        if len(application) > IMAGE_LIMIT_BYTES:
            raise CommandError(
                f"the application's image has {len(application)} bytes, and a slot holds "
                f"{IMAGE_LIMIT_BYTES}: leave files out, or put them into /data"
            )
        slot = application.ljust(SLOT_BYTES - len(ACCEPTED_PAGE), b"\xff") + ACCEPTED_PAGE
        regions |= used_parts(slot, SLOT_STARTS["a"])
    return regions


def all_regions(
    firmware: Firmware,
    application: bytes | None,
    content: Mapping[str, bytes],
    flash_bytes: int,
) -> dict[int, bytes]:
    """Return everything that is written to a board with *flash_bytes* of flash.

    *content* are the files of its file system: name → content. Blank sectors of the file system are
    left out: littlefs erases a sector before it uses it.
    """
    regions = {0: firmware.data} | partition_regions(application)
    size = flash_bytes - SDK_BYTES - FILE_SYSTEM_START
    # Both superblocks are always written: those of an older file system may lie there now.
    regions |= used_parts(littlefs.build(content, size), FILE_SYSTEM_START, always=2)
    if flash_bytes > _LARGEST_CALIBRATED_BYTES:
        regions[flash_bytes - _INIT_DATA_BEFORE_END] = firmware.init_data()
    return regions


def blank_regions(
    regions: Mapping[int, bytes], start: int = SYSTEM_START, end: int = FILE_SYSTEM_START
) -> dict[int, int]:
    """Return the parts from *start* to *end* that *regions* do not write: offset → size."""
    used = set()
    for offset, data in regions.items():
        used |= set(range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES)))
    sectors = range(start // SECTOR_BYTES, end // SECTOR_BYTES)
    return _joined([sector for sector in sectors if sector not in used])


def used_parts(content: bytes, start: int, always: int = 0) -> dict[int, bytes]:
    """Return the sectors of *content* that are not blank, offset → content.

    *start* is the offset of *content* in flash. The first *always* sectors are returned even if
    they are blank.
    """
    sectors = [
        n
        for n in range(len(content) // SECTOR_BYTES)
        if n < always or content[n * SECTOR_BYTES : (n + 1) * SECTOR_BYTES] != _BLANK
    ]
    return {
        start + offset: content[offset : offset + size] for offset, size in _joined(sectors).items()
    }


def _joined(sectors: list[int]) -> dict[int, int]:
    # Joins sectors that follow one another: offset → size.
    joined: dict[int, int] = {}
    for sector in sectors:
        offset = sector * SECTOR_BYTES
        last = next(reversed(joined), None)
        if last is not None and last + joined[last] == offset:
            joined[last] += SECTOR_BYTES
        else:
            joined[offset] = SECTOR_BYTES
    return joined
