"""Which version must run, decided on the host from the flash alone, by the description of the
formats and not by the device's code; and what must hold whenever the power goes.
"""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

from mpota.board.flash import read_flash

SLOTS = {"a": 0x0CE000, "b": 0x0E7000}
SLOT_BYTES = 0x19000
_MARKS_PAGE_BYTES = 256
_FILE_SYSTEM, _FILE_SYSTEM_END = 0x100000, 0x400000 - 20 * 1024

RECORD = "/.ota/record"
# magic, generation, version, active, trial, attempts, flags, zeros, floor, rejected; for each slot
# sequence, size, MD5; how the last update ended
_RECORD = struct.Struct("<4sIBBBBB3sII II16s II16s 48s")
_CHECK_BYTES = 8
_ATTEMPTS = 3
_REVERT = 1

_ROMFS = b"\xd2\xcd\x31"
_NUMBER_BYTES = 4  # of a number in it
_FOOTER = struct.Struct("<4sI32s")

Files = dict[str, bytes]  # name → content


class BrokenError(AssertionError):
    """The flash is in a state that a power cut must not lead to."""


@dataclass(frozen=True)
class Received:
    """What the record says about the file that was received into a slot."""

    sequence: int
    size_bytes: int
    md5: bytes


@dataclass(frozen=True)
class Record:
    """The boot record; `active` and `trial` are a letter or None."""

    generation: int
    active: str | None
    trial: str | None
    attempts: int
    is_revert: bool
    floor: int
    rejected: int
    received: dict[str, Received]
    outcome: str  # how the last update ended


@dataclass(frozen=True)
class Slot:
    """What lies in a slot: `version` and `sequence` of an image that is whole, else None."""

    version: str | None
    sequence: int | None
    accepted: bool
    rejected: bool
    content: bytes

    @property
    def is_usable(self) -> bool:
        """Whether boot, recovery and revert may use it."""
        return self.version is not None and self.accepted and not self.rejected


@dataclass(frozen=True)
class Verdict:
    """What the next boot must do: `runs` is the version, None for the services alone.

    `state` is idle, trial, or lost, where there is no record that can be read. `takes_back` is
    whether the boot must take the trial back, as one that failed.
    """

    state: str
    runs: str | None
    record: Record | None
    slots: dict[str, Slot]
    takes_back: bool
    others: Files  # every file outside /.ota
    beside: bytes  # the flash outside of the slots and the file system

    @property
    def active(self) -> Slot | None:
        """The slot that is confirmed."""
        return self.slots[self.record.active] if self.record and self.record.active else None

    @property
    def idle(self) -> Slot:
        """The slot that an update goes to."""
        is_a = self.record and self.record.active == "a"
        return self.slots["b" if is_a else "a"]

    @property
    def rejected(self) -> int:
        """The sequence that must not be taken again, 0 for none."""
        return self.record.rejected if self.record else 0


def judge(flash: Path, may_lack_record: bool = False, is_damaged: bool = False) -> Verdict:
    """Return what the board with the flash image *flash* must do next. Raises BrokenError.

    The active slot of a board that *is_damaged* may be no good.
    """
    data = flash.read_bytes()
    files = read_flash(flash)
    slots = {letter: _slot(data[at : at + SLOT_BYTES]) for letter, at in SLOTS.items()}
    record = _record(files.get(RECORD))
    if record is None and not may_lack_record:
        raise BrokenError(f"there is no readable record: {files.get(RECORD, b'').hex()}")
    takes_back = False
    if record is None:
        state, runs = "lost", _recovered(slots)
    else:
        _check_record(record, slots, is_damaged)
        state, runs = "idle", _active_version(record, slots)
        if record.trial:
            state = "trial"
            on_trial = slots[record.trial]
            takes_back = on_trial.rejected or record.attempts >= _ATTEMPTS
            if on_trial.is_usable and not takes_back:
                runs = on_trial.version
    return Verdict(
        state,
        runs,
        record,
        slots,
        takes_back,
        {name: content for name, content in files.items() if not name.startswith("/.ota/")},
        data[: SLOTS["a"]] + data[SLOTS["b"] + SLOT_BYTES : _FILE_SYSTEM] + data[_FILE_SYSTEM_END:],
    )


def _recovered(slots: dict[str, Slot]) -> str | None:
    usable = [slot for slot in slots.values() if slot.is_usable]
    return max(usable, key=lambda slot: slot.sequence).version if usable else None


def _active_version(record: Record, slots: dict[str, Slot]) -> str | None:
    if record.active is None or not slots[record.active].is_usable:
        return None
    return slots[record.active].version


def _record(data: bytes | None) -> Record | None:
    # None where there is none that can be read. Raises BrokenError for one that makes no sense.
    if data is None:
        return None
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if len(body) != _RECORD.size or hashlib.sha256(body).digest()[:_CHECK_BYTES] != check:
        return None
    fields = _RECORD.unpack(body)
    magic, generation, version, active, trial, attempts, flags, zeros, floor, rejected = fields[:10]
    letters = {ord("a"): "a", ord("b"): "b", ord("-"): None}
    if (
        (magic, version, zeros) != (b"MPBR", 2, bytes(3))
        or not {active, trial} <= set(letters)
        or attempts > _ATTEMPTS
        or flags & ~_REVERT
        or trial == ord("-")
        and flags
    ):
        raise BrokenError(f"the record makes no sense: {data.hex()}")
    received = {"a": Received(*fields[10:13]), "b": Received(*fields[13:16])}
    active, trial = letters[active], letters[trial]
    return Record(
        generation,
        active,
        trial,
        attempts,
        bool(flags & _REVERT),
        floor,
        rejected,
        received,
        fields[16].rstrip(b"\0").decode(),
    )


def _check_record(record: Record, slots: dict[str, Slot], is_damaged: bool) -> None:
    # What the record says of the slots must be so.
    if record.trial and record.trial == record.active:
        raise BrokenError(f"the active slot, {record.active}, is on trial")
    named = []
    if record.active and not is_damaged:
        named.append((record.active, "active"))
        sequence = slots[record.active].sequence or 0
        if sequence > record.floor:
            raise BrokenError(f"slot {record.active} has sequence {sequence}, {record.floor=}")
        if slots[record.active].rejected:
            raise BrokenError(f"slot {record.active}, which is active, is marked as rejected")
    if record.trial:
        named.append((record.trial, "on trial"))
    for letter, what in named:
        slot, received = slots[letter], record.received[letter]
        if slot.version is None:
            raise BrokenError(f"slot {letter}, which is {what}, has no whole image")
        if not slot.accepted:
            raise BrokenError(f"slot {letter}, which is {what}, is not marked as accepted")
        if received.sequence != slot.sequence:
            raise BrokenError(f"slot {letter} has sequence {slot.sequence}, {received.sequence=}")
        md5 = hashlib.md5(slot.content[: received.size_bytes]).digest()
        if received.md5.strip(b"\0") and received.md5 != md5:
            raise BrokenError(f"slot {letter} has not the MD5 that the record has")


def _slot(content: bytes) -> Slot:
    version = sequence = None
    if (romfs := _whole_romfs(content[:-_MARKS_PAGE_BYTES])) is not None:
        version, sequence = _manifest(romfs)
    return Slot(version, sequence, content[-8:-4] == b"ACPT", content[-4:] != b"\xff" * 4, content)


def _whole_romfs(content: bytes) -> bytes | None:
    # Returns the ROMFS that *content* begins with, if its footer is behind it.
    if not content.startswith(_ROMFS):
        return None
    size, start = _number(content[: len(_ROMFS) + _NUMBER_BYTES], len(_ROMFS))
    size = start + size + 3 & ~3
    footer = content[size : size + _FOOTER.size]
    if footer != _FOOTER.pack(b"MPOF", size, hashlib.sha256(content[:size]).digest()):
        return None
    return content[:size]


def _manifest(romfs: bytes) -> tuple[str, int]:
    # MANIFEST is the first file: kind, length, length of the name, name, kind, length, text.
    _, at = _number(romfs, len(_ROMFS))
    file_kind, at = _number(romfs, at)
    _, at = _number(romfs, at)
    length, at = _number(romfs, at)
    name, at = romfs[at : at + length], at + length
    data_kind, at = _number(romfs, at)
    length, at = _number(romfs, at)
    if (file_kind, name, data_kind) != (5, b"MANIFEST", 2):
        raise BrokenError("MANIFEST is not the first file of an image that is whole")
    facts = dict(line.split(" ", 1) for line in romfs[at : at + length].decode().splitlines())
    return facts["version"], int(facts["sequence"])


def _number(data: bytes, at: int) -> tuple[int, int]:
    # Returns the number at *at*, and where it ends: at the latest where *data* does.
    value = 0
    while at < len(data):
        value = value << 7 | data[at] & 0x7F
        at += 1
        if data[at - 1] < 0x80:
            break
    return value, at
