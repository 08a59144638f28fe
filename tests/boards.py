"""Simulated boards for tests: flash images with the device code and an application, small images,
and an address of its own for every board.
"""

import functools
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpota import image
from mpota.board.files import boot_files, first_record, settings_file, system_rom
from mpota.board.flash import FILE_SYSTEM_END, FILE_SYSTEM_START, create_flash, read_flash
from mpota.image.compile import compile_module
from mpota.image.directory import pack_directory
from mpota.sim import Board
from mpota.sim.heap import BYTES_PER_CHIP_BYTE
from mpota.sim.rom import ARCHITECTURE

ROOT = Path(__file__).parent.parent
GARDEN = ROOT / "examples" / "garden"
_LOGGER = ROOT / "examples" / "logger"

# The settings of tests: a trial ends at once, and mDNS is off, so that a board does not hear all
# the others that are tested at the same time.
SETTINGS = {"ssid": "simulated", "confirm_s": 0.3, "mdns": False}

# An application that says what it is, and does nothing else.
SMALL_APP = """
def main(ota):
    print("app {version} runs")
    while True:
        ota.handle()
"""

_numbers = itertools.count()


def chip_kb(kilobytes: float) -> int:
    """Return the bytes of a simulated board's heap that correspond to *kilobytes* on the chip."""
    return round(kilobytes * 1024 * BYTES_PER_CHIP_BYTE)


def own_ip() -> str:
    """Return an address of 127.0.0.0/8 that no other board uses, of this or another process."""
    # From 127.0.16.0 to 127.250.15.255: 4,096 for each process.
    number = os.getpid() % 4000 + 1 << 12 | next(_numbers) % 2**12
    return f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def small_image(version: str, sequence: int, files: dict[str, bytes] | None = None) -> bytes:
    """Return an image of an application that prints `app VERSION runs`; *files* replace or add."""
    contents = {"app.py": SMALL_APP.format(version=version).encode()} | (files or {})
    return application_image(contents, name="small", version=version, sequence=sequence)


def logger_release(sequence: int) -> bytes:
    """Return an image of the example `logger`, of that *sequence*."""
    packed = pack_directory(
        _LOGGER, version=f"1.{sequence}.0", sequence=sequence, architecture=ARCHITECTURE
    )
    return packed.data


def application_image(files: dict[str, bytes], **fields: object) -> bytes:
    """Return an image of *files* whose sources are compiled for the simulated board."""
    return image.build(files=compiled(files), **fields)


def compiled(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return *files* of an application, with every source compiled to a `.mpy`."""
    made = {}
    for name, content in files.items():
        if name.endswith(".py"):
            name = name.removesuffix(".py") + ".mpy"
            content = _compiled(content.decode(), f"/app/{name}")
        made[name] = content
    return made


@functools.cache
def _compiled(source: str, path: str) -> bytes:
    return compile_module(source, path, ARCHITECTURE)


@functools.cache
def simulated_rom() -> bytes:
    """Return the system ROM of the simulated board."""
    return system_rom(ARCHITECTURE)


def flash_with(path: Path, application: bytes | None, **settings: object) -> Path:
    """Write a flash image to *path* with the device code and *application* (an image) in slot a."""
    files = boot_files() | settings_file(SETTINGS | settings)
    slots = {}
    if application is not None:
        files |= first_record(application)
        slots["a"] = application
    create_flash(path, files, system=simulated_rom(), slots=slots)
    return path


def change_files(flash: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Let *change* edit the dict of all files on *flash*; system ROM and slots stay as they are."""
    files = read_flash(flash)
    change(files)
    before = flash.read_bytes()
    create_flash(flash, files)
    file_system = flash.read_bytes()[FILE_SYSTEM_START:FILE_SYSTEM_END]
    flash.write_bytes(before[:FILE_SYSTEM_START] + file_system + before[FILE_SYSTEM_END:])


def board_with(folder: Path, application: bytes | None, *, watchdog_ms: int = 1000,
               heap: str = "56k", ticks: int = 0, **settings: object) -> Board:  # fmt: skip
    """Return a board, switched off, that has *application* in slot a; settings go to ota.json."""
    flash = flash_with(folder / "flash.img", application, **settings)
    return Board(flash, ip=own_ip(), watchdog_ms=watchdog_ms, heap=heap, ticks=ticks)


def board_that_runs(folder: Path, script: str, **options: Any) -> Board:
    """Return a board, switched off, that runs nothing but *script*; options are those of Board."""
    create_flash(folder / "flash.img", {"/main.py": script.encode()})
    return Board(folder / "flash.img", ip=own_ip(), **options)
