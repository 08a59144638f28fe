"""Set up a board over serial; from then on it can be updated over the air."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mpota.board import console, files, record, settings
from mpota.board.firmware_file import PARTITION_BYTES, Firmware
from mpota.board.first_flash import all_regions, blank_regions, partition_regions
from mpota.board.flash import FILE_SYSTEM_START, SLOT_BYTES, SLOT_STARTS
from mpota.board.prompt import Kind, Prompt
from mpota.board.serial import Chip, Loader
from mpota.errors import CommandError

SETTINGS_FILE, KEYS_FILE = "/ota.json", "/ota.keys"
# The board's copy of the settings with which it was healthy last.
SETTINGS_COPY = "/.ota/settings"
# What is added to the name of a boot.py or main.py that is replaced by that of mpota.
_KEPT = ".old"

_BYTECODE = 6 | 3 << 8

# A function that takes the settings on the board, and returns those that it gets.
Settings = Callable[[Mapping[str, object]], Mapping[str, object]]


class Report(Protocol):
    """Shows people what happens."""

    def tell(self, line: str) -> None:
        """Show a line."""

    def board_line(self, line: str) -> None:
        """Show a line that the board said."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """Show how far a phase is."""


@dataclass(frozen=True)
class Job:
    """What is written to a board, and how its port is used.

    `firmware` None: the board keeps its own. `application` is an image and `keys` the content of
    /ota.keys, or None. `dtr` and `rts` are levels for the adapter's lines. `patience_s` is how long
    the board may take until it listens for updates.
    """

    firmware: Firmware | None
    application: bytes | None = None
    keys: bytes | None = None
    erase: bool = False
    flash_mode: str = "keep"
    dtr: bool | None = None
    rts: bool | None = None
    patience_s: float = 60.0


def set_up(port: str, job: Job, wanted: Settings, report: Report) -> tuple[Chip, console.Ready]:
    """Do the *job*, and wait until the board listens for updates. Raises CommandError."""
    if job.firmware is None:
        return _beside_firmware(port, job, wanted, report)
    content = _files(job, wanted({}))
    with _loader(port, job, report) as loader:
        regions = all_regions(job.firmware, job.application, content, loader.chip.flash_bytes)
        if job.erase:
            report.tell("erasing all of the flash")
            loader.erase_all()
        else:
            loader.erase(blank_regions(regions))
        return _write_and_start(loader, regions, job, report)


def _beside_firmware(
    port: str, job: Job, wanted: Settings, report: Report
) -> tuple[Chip, console.Ready]:
    prompt = Prompt(port, report.tell)
    report.tell("looking at what runs on the board")
    _check(prompt.kind())
    there = prompt.files()
    content = _files(job, wanted(_present_settings(prompt, there, report)))
    content |= _kept(prompt, there, report)
    prompt.write(content, lambda done, total: report.progress("writing the files", done, total))
    with _loader(port, job, report, has_written=True) as loader:
        regions = partition_regions(job.application)
        if job.application is not None and record.NAME in there:  # the other slot is kept
            start = SLOT_STARTS["a"]
            loader.erase(blank_regions(regions, start, start + SLOT_BYTES))
        elif record.NAME not in there:
            loader.erase(blank_regions(regions))
        return _write_and_start(loader, regions, job, report)


def _check(kind: Kind) -> None:
    if kind.bytecode != _BYTECODE:
        raise CommandError(
            f"MicroPython {kind.version} on the board needs another bytecode than 6.3: flash the "
            "board without --keep-firmware"
        )
    if (kind.partition_bytes, kind.file_system_start) != (PARTITION_BYTES, FILE_SYSTEM_START):
        raise CommandError(
            f"MicroPython {kind.version} on the board is a build without the ROMFS partition that "
            "the update services need: flash the board without --keep-firmware"
        )


def _present_settings(
    prompt: Prompt, there: Mapping[str, int], report: Report
) -> Mapping[str, object]:
    # Returns the settings on the board; if they are damaged, the copy of the last good ones.
    for name in (SETTINGS_FILE, SETTINGS_COPY):
        if name in there:
            content = prompt.read({name: there[name]})[name]
            try:
                return settings.read_json(content)
            except CommandError:
                report.tell(f"the board's {name} is damaged: a new {SETTINGS_FILE} is written")
    return {}


def _kept(prompt: Prompt, there: Mapping[str, int], report: Report) -> dict[str, bytes]:
    # Returns the board's boot.py and main.py under other names, if they are not those of mpota.
    own = files.boot_files()
    found = prompt.read({name: there[name] for name in own if name in there})
    kept = {}
    for name, content in found.items():
        if content != own[name]:
            names = (f"{name}{_KEPT}{number or ''}" for number in itertools.count())
            free = next(one for one in names if one not in there)
            kept[free] = content
            report.tell(f"the board's own {name} is kept as {free}")
    return kept


def _files(job: Job, wanted: Mapping[str, object]) -> dict[str, bytes]:
    content = files.boot_files() | {SETTINGS_FILE: settings.to_json(wanted)}
    if job.keys is not None:
        content[KEYS_FILE] = job.keys
    if job.application is not None:
        content |= files.first_record(job.application)
    return content


def _loader(port: str, job: Job, report: Report, has_written: bool = False) -> Loader:
    loader = Loader(port, tell=report.tell, dtr=job.dtr, rts=job.rts, has_written=has_written)
    report.tell(f"{port}: {loader.chip}")
    return loader


def _write_and_start(
    loader: Loader, regions: Mapping[int, bytes], job: Job, report: Report
) -> tuple[Chip, console.Ready]:
    loader.write(regions, report.progress, job.flash_mode)
    report.tell("written and verified; starting the board")
    by_line = loader.start()
    ready = console.follow(
        loader.connection,
        report.board_line,
        job.patience_s,
        loader.start_by_stub if by_line else lambda: None,
        report.tell,
    )
    return loader.chip, ready
