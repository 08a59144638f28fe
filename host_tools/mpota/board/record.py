"""The boot record, /.ota/record: which slot runs, and what is known of both slots.

docs/SPEC.md describes the bytes in "Boot record".
"""

import hashlib
import struct
from dataclasses import dataclass

NAME = "/.ota/record"
NO_SLOT = "-"

_MAGIC = b"MPBR"
_VERSION = 2
_CHECK_BYTES = 8  # the first bytes of the SHA-256 of everything before
_LONGEST_BYTES = 256  # a later version may have appended fields, up to this length
_FIELDS = struct.Struct("<4sIBBBBBBxxII")
_SLOT = struct.Struct("<II16s")
_REVERT = 1  # the flag
_OUTCOME_BYTES = 48


@dataclass(frozen=True)
class SlotRecord:
    """What a board received into a slot: `sequence` is 0 where nothing is known.

    `size_bytes` and `md5` are those of the whole file, signature included; an `md5` that is not
    known is 16 zeros.
    """

    sequence: int = 0
    size_bytes: int = 0
    md5: bytes = bytes(16)


@dataclass(frozen=True)
class Record:
    """A boot record: `active` and `trial` are "a", "b" or NO_SLOT.

    `attempts` counts the boots of the present trial, or of the last one. `data` says what the next
    boot does with the folder /data: 0 nothing, 1 try the new folder, 2 take it back. `outcome` is
    how the last update ended, in words; at most 48 bytes of it are kept.
    """

    generation: int
    active: str = NO_SLOT
    trial: str = NO_SLOT
    attempts: int = 0
    is_revert: bool = False
    data: int = 0
    floor: int = 0
    rejected: int = 0
    a: SlotRecord = SlotRecord()
    b: SlotRecord = SlotRecord()
    outcome: str = ""

    def pack(self) -> bytes:
        """Return the content of the file."""
        body = _FIELDS.pack(
            _MAGIC,
            self.generation,
            _VERSION,
            ord(self.active),
            ord(self.trial),
            self.attempts,
            _REVERT if self.is_revert else 0,
            self.data,
            self.floor,
            self.rejected,
        )
        for slot in (self.a, self.b):
            body += _SLOT.pack(slot.sequence, slot.size_bytes, slot.md5)
        body += self.outcome.encode()[:_OUTCOME_BYTES].ljust(_OUTCOME_BYTES, b"\0")
        return body + _check(body)

    @classmethod
    def parse(cls, data: bytes) -> "Record | None":
        """Read a record of this or a later version; return None if a board could not use it."""
        outcome_at = _FIELDS.size + 2 * _SLOT.size
        shortest = outcome_at + _OUTCOME_BYTES + _CHECK_BYTES
        body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
        if not shortest <= len(data) <= _LONGEST_BYTES or check != _check(body):
            return None
        magic, generation, version, active, trial, attempts, flags, data_field, floor, rejected = (
            _FIELDS.unpack_from(body)
        )
        if magic != _MAGIC or version < _VERSION:
            return None
        a, b = (SlotRecord(*_SLOT.unpack_from(body, _FIELDS.size + at)) for at in (0, _SLOT.size))
        return cls(
            generation,
            _letter(active),
            _letter(trial),
            attempts,
            bool(flags & _REVERT),
            data_field,
            floor,
            rejected,
            a,
            b,
            body[outcome_at:][:_OUTCOME_BYTES].rstrip(b"\0").decode(errors="replace"),
        )


def _letter(byte: int) -> str:
    return chr(byte) if byte in b"ab" else NO_SLOT


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK_BYTES]
