"""What a first flash writes to a board, and what it leaves blank: offset → content or size."""

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
    file_system,
)
from mpota.errors import CommandError

# Up to here the firmware writes the SDK's calibration data itself where there is none.
_LARGEST_CALIBRATED_BYTES = 4 * 1024 * 1024
_INIT_DATA_BEFORE_END = 4 * SECTOR_BYTES
_BLANK = b"\xff" * SECTOR_BYTES


def partition_regions(application: bytes | None) -> dict[int, bytes]:
    """Return the system ROM and, with an *application* image, slot a with its mark.

    Raises CommandError for what does not fit.
    """
    system = files.system_rom()
    if len(system) > SYSTEM_BYTES:
        raise CommandError(
            f"the system ROM has {len(system)} bytes and its place {SYSTEM_BYTES}: this version of "
            "mpota is broken, install another"
        )
    regions = {SYSTEM_START: system}
    if application is not None:
        if len(application) > IMAGE_LIMIT_BYTES:
            raise CommandError(
                f"the application's image has {len(application)} bytes, and a slot takes "
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
    """Return all that goes on a board with *flash_bytes* of flash; *content* are its files.

    Of the file system, the sectors that hold something: littlefs erases others before it uses them.
    """
    regions = {0: firmware.data} | partition_regions(application)
    size = flash_bytes - SDK_BYTES - FILE_SYSTEM_START
    # Both superblocks in any case: what lies there now may be of an older file system.
    regions |= used_parts(file_system(content, size), FILE_SYSTEM_START, always=2)
    if flash_bytes > _LARGEST_CALIBRATED_BYTES:
        regions[flash_bytes - _INIT_DATA_BEFORE_END] = firmware.init_data()
    return regions


def blank_regions(
    regions: Mapping[int, bytes], start: int = SYSTEM_START, end: int = FILE_SYSTEM_START
) -> dict[int, int]:
    """Return what *regions* do not write from *start* to *end*, offset → size."""
    used = set()
    for offset, data in regions.items():
        used |= set(range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES)))
    sectors = range(start // SECTOR_BYTES, end // SECTOR_BYTES)
    return _joined([sector for sector in sectors if sector not in used])


def used_parts(content: bytes, start: int, always: int = 0) -> dict[int, bytes]:
    """Return what of *content*, which goes to *start*, is not blank, offset → content.

    It is in whole sectors. The first *always* of them are in it whatever they are.
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
    # Sectors that follow one another, as offset → size.
    joined: dict[int, int] = {}
    for sector in sectors:
        offset = sector * SECTOR_BYTES
        last = next(reversed(joined), None)
        if last is not None and last + joined[last] == offset:
            joined[last] += SECTOR_BYTES
        else:
            joined[offset] = SECTOR_BYTES
    return joined
