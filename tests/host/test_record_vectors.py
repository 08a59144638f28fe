"""The boot records of tests/vectors/record.txt, which tests/unit/test_record.py reads as well.

A line holds a record in hex, then generation, active, trial, attempts, floor, rejected, sequence,
size and the digest in hex. `python tests/host/test_record_vectors.py` writes the file.
"""

import hashlib
import sys
from pathlib import Path

import pytest
from mpota.board.files import _first_record

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "record.txt"

# docs/SPEC.md, "Boot record": offset and size in bytes of each field, in the file's order.
LAYOUT = {
    "magic": (0, 4),
    "generation": (4, 4),
    "active": (8, 1),
    "trial": (9, 1),
    "attempts": (10, 1),
    "reserved": (11, 1),
    "floor": (12, 4),
    "rejected": (16, 4),
    "sequence": (20, 4),
    "size": (24, 4),
    "digest": (28, 32),
    "check": (60, 8),
}
RECORD_BYTES = 68

NO_DIGEST = "00" * 32
DIGEST = hashlib.sha256(b"an image").hexdigest()

# generation, active, trial, attempts, floor, rejected, sequence, size, digest
RECORDS = [
    (1, "a", "-", 0, 1, 0, 0, 0, NO_DIGEST),  # as the first flash writes it
    (1, "-", "-", 0, 0, 0, 0, 0, NO_DIGEST),  # no application yet
    (2, "a", "-", 0, 17, 0, 18, 4608, DIGEST),  # pending
    (3, "a", "b", 0, 17, 0, 18, 0, NO_DIGEST),  # unpacked
    (6, "a", "b", 3, 17, 0, 18, 0, NO_DIGEST),  # tried in vain
    (7, "a", "-", 0, 17, 18, 0, 0, NO_DIGEST),  # taken back
    (9, "b", "a", 1, 19, 18, 20, 0, NO_DIGEST),
    (2, "-", "a", 2, 0, 0, 1, 0, NO_DIGEST),  # the first release, on trial
    (2**32 - 1, "b", "-", 255, 2**30 - 1, 2**30 - 1, 2**30 - 1, 2**30 - 1, "ff" * 32),
]


def packed(generation, active, trial, attempts, floor, rejected, sequence, size, digest):
    """Return a record, byte by byte after the layout."""
    data = bytearray(60)
    numbers = {
        "generation": generation,
        "active": ord(active),
        "trial": ord(trial),
        "attempts": attempts,
        "floor": floor,
        "rejected": rejected,
        "sequence": sequence,
        "size": size,
    }
    for field, value in numbers.items():
        at, size_bytes = LAYOUT[field]
        data[at : at + size_bytes] = value.to_bytes(size_bytes, "little")
    data[:4] = b"MPBR"
    data[28:60] = bytes.fromhex(digest)
    return bytes(data) + hashlib.sha256(data).digest()[:8]


def parsed(data):
    """Return the fields of a record, after checking all that makes it a valid one."""
    assert len(data) == RECORD_BYTES
    raw = {field: data[at : at + size] for field, (at, size) in LAYOUT.items()}
    assert raw["magic"] == b"MPBR"
    assert raw["check"] == hashlib.sha256(data[:60]).digest()[:8]
    numbers = ("generation", "attempts", "floor", "rejected", "sequence", "size", "reserved")
    return {
        **{field: int.from_bytes(raw[field], "little") for field in numbers},
        "active": raw["active"].decode(),
        "trial": raw["trial"].decode(),
        "digest": raw["digest"].hex(),
    }


def vectors():
    """Return the file's text."""
    lines = [" ".join([packed(*record).hex(), *map(str, record)]) for record in RECORDS]
    return "\n".join(lines) + "\n"


def test_the_layout_has_no_gap_and_no_overlap():
    at = 0
    for offset, size in LAYOUT.values():
        assert offset == at
        at += size
    assert at == RECORD_BYTES


def test_the_vectors_are_what_the_layout_says():
    assert VECTORS.read_text() == vectors()


@pytest.mark.parametrize("floor", [1, 17, 2**30 - 1])
def test_the_first_record_makes_slot_a_active_and_nothing_else(floor):
    assert parsed(_first_record(floor)) == {
        "generation": 1,
        "active": "a",
        "trial": "-",
        "attempts": 0,
        "reserved": 0,
        "floor": floor,
        "rejected": 0,
        "sequence": 0,
        "size": 0,
        "digest": NO_DIGEST,
    }


def test_the_first_record_is_the_first_vector():
    assert _first_record(1).hex() == VECTORS.read_text().split(maxsplit=1)[0]


if __name__ == "__main__":
    sys.stdout.write(f"{VECTORS.write_text(vectors())} characters written to {VECTORS}\n")
