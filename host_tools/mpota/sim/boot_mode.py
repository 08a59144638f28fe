"""The simulated board in the serial mode of its boot ROM."""

import math
import mmap
from collections.abc import Callable
from pathlib import Path

from mpota.board.firmware_file import check_firmware, first_firmware
from mpota.board.flash import FILE_SYSTEM_START, SECTOR_BYTES
from mpota.errors import CommandError
from mpota.sim.boot_rom import BootRom, Chip
from mpota.sim.control_page import ControlPage
from mpota.sim.nor_flash import NorFlash
from mpota.sim.rom_modules import control
from mpota.sim.serial_port import SerialPort

_WAIT_S = 0.05
_MANUFACTURER = 0x40EF
_BLANK = b"\xff" * SECTOR_BYTES


def has_program(flash: Path) -> bool:
    """Whether *flash* holds a program that the chip can start.

    Firmware must be complete. A flash image without firmware is started as well, since the
    simulated board has its own interpreter, unless its file system is blank too.
    """
    content = flash.read_bytes()
    if content.startswith(_BLANK):
        return not content[FILE_SYSTEM_START:].startswith(_BLANK)
    try:
        check_firmware(first_firmware(content), "flash")
    except CommandError:
        return False
    return True


class PowerCutError(Exception):
    """The power fails before the next flash operation."""


def flash_id(flash_bytes: int) -> int:
    """Return the id that a flash chip of this size has."""
    return int(math.log2(flash_bytes)) << 16 | _MANUFACTURER


def serve(
    flash: Path,
    port: SerialPort,
    chip: Chip,
    page: ControlPage,
    first: bytes,
    is_wanted: Callable[[], bool],
) -> None:
    """Answer as the boot ROM does, beginning with the bytes *first*, which have come already.

    Return when the chip was told to start what is in *flash*, when the program that spoke to it has
    closed the port, or when *is_wanted* returns False. Operations are counted in *page*. Raises
    PowerCutError before the one that the power cut is to hit.
    """

    def before(offset: int, new: bytes | None) -> None:
        if page[control.OPERATIONS] >= page[control.CUT_AFTER]:
            raise PowerCutError
        page[control.OPERATIONS] += 1
        if new is None:
            page[control.ERASES] += 1
        else:
            page[control.PROGRAMS] += 1
            page[control.PAGES] += 1
            page[control.BYTES_PROGRAMMED] += len(new)

    def is_understood() -> bool:
        return port.baud in (0, rom.baud)

    def send(data: bytes) -> None:
        port.write(data if is_understood() else _garbled(data))

    def take(data: bytes) -> None:
        if not rom.has_spoken and port.baud:
            rom.baud = port.baud  # measured with the first frame
        rom.feed(data if is_understood() else _garbled(data))

    with (
        flash.open("r+b") as file,
        mmap.mmap(file.fileno(), 0) as content,
        memoryview(content) as image,
    ):
        rom = BootRom(NorFlash(image, before), chip, send)
        take(first)
        while is_wanted() and not rom.has_left:
            if port.wait(_WAIT_S):
                take(port.read())
            elif rom.has_spoken and not port.is_open and not port.has_lines:
                return


def _garbled(data: bytes) -> bytes:
    # What arrives where the two sides do not use the same speed.
    return bytes(byte ^ 0x5A for byte in data)
