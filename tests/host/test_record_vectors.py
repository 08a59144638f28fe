"""The boot records of tests/vectors/record.txt, which tests/unit/test_record.py reads as well.

A line holds a record in hex, then generation, active, trial, attempts, flags, data, floor and
rejected, then for slot a and for slot b sequence, size and MD5 in hex, then the outcome in hex, or
"-" where it is empty. The last ones are those of a later version, which has more fields.
`python tests/host/test_record_vectors.py` writes the file.
"""

import hashlib
import sys
from pathlib import Path

import pytest
from mpota import image
from mpota.board.files import first_record
from mpota.board.record import Record, SlotRecord

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "record.txt"

# docs/SPEC.md, "Boot record": offset and size in bytes of each field, in the file's order.
LAYOUT = {
    "magic": (0, 4),
    "generation": (4, 4),
    "version": (8, 1),
    "active": (9, 1),
    "trial": (10, 1),
    "attempts": (11, 1),
    "flags": (12, 1),
    "data": (13, 1),
    "zeros": (14, 2),
    "floor": (16, 4),
    "rejected": (20, 4),
    "a_sequence": (24, 4),
    "a_size": (28, 4),
    "a_md5": (32, 16),
    "b_sequence": (48, 4),
    "b_size": (52, 4),
    "b_md5": (56, 16),
    "outcome": (72, 48),
    "check": (120, 8),
}
RECORD_BYTES, CHECK_BYTES, LONGEST_BYTES = 128, 8, 256
REVERT = 1

UNKNOWN = (0, 0, "00" * 16)
MD5 = hashlib.md5(b"an image").hexdigest()
CONFIRMED = "confirmed: 19"
TAKEN_BACK = "taken back: 18: not confirmed in 3 boots"
LARGEST = (2**30 - 1, 102_144, "ff" * 16)

# generation, active, trial, attempts, flags, data, floor, rejected, slot a, slot b, outcome
RECORDS = [
    (1, "a", "-", 0, 0, 0, 1, 0, (1, 840, MD5), UNKNOWN, ""),  # as the first flash writes it
    (1, "-", "-", 0, 0, 0, 0, 0, UNKNOWN, UNKNOWN, ""),  # no application yet
    (2, "a", "b", 0, 0, 0, 17, 0, (17, 4608, MD5), (18, 4612, MD5[::-1]), ""),  # received
    (5, "a", "b", 3, 0, 0, 17, 0, (17, 4608, MD5), (18, 4612, MD5[::-1]), ""),  # tried in vain
    (
        6,
        "a",
        "-",
        0,
        0,
        0,
        17,
        18,
        (17, 4608, MD5),
        (18, 4612, MD5[::-1]),
        TAKEN_BACK,
    ),  # taken back
    (7, "b", "-", 0, 0, 0, 19, 0, (17, 4608, MD5), (19, 4612, MD5[::-1]), CONFIRMED),  # confirmed
    (
        8,
        "b",
        "a",
        1,
        REVERT,
        0,
        19,
        0,
        (17, 4608, MD5),
        (19, 4612, MD5[::-1]),
        CONFIRMED,
    ),  # the owner's wish
    (2, "-", "a", 2, 0, 0, 0, 0, (1, 840, "00" * 16), UNKNOWN, ""),  # the first release, on trial
    # new data on trial: alone, and with a release; and taken back
    (9, "a", "a", 0, 0, 1, 17, 0, (17, 4608, MD5), UNKNOWN, CONFIRMED),
    (9, "a", "b", 1, 0, 1, 17, 0, (17, 4608, MD5), (18, 4612, MD5[::-1]), CONFIRMED),
    (10, "a", "-", 3, 0, 2, 17, 0, (17, 4608, MD5), UNKNOWN, "taken back: data: it hung"),
    (2**32 - 1, "b", "-", 255, REVERT, 255, 2**30 - 1, 2**30 - 1, LARGEST, LARGEST, "x" * 48),
]
# What later versions may append, and the number that they may have.
LATER = [(3, b"more"), (255, bytes(LONGEST_BYTES - RECORD_BYTES))]


def packed(fields, version=2, more=b""):
    """Return a record, byte by byte after the layout."""
    generation, active, trial, attempts, flags, new, floor, rejected, *slots, outcome = fields
    data = bytearray(RECORD_BYTES - CHECK_BYTES)
    numbers = {
        "generation": generation,
        "version": version,
        "active": ord(active),
        "trial": ord(trial),
        "attempts": attempts,
        "flags": flags,
        "data": new,
        "floor": floor,
        "rejected": rejected,
    }
    for letter, (sequence, size, md5) in zip("ab", slots, strict=True):
        numbers |= {f"{letter}_sequence": sequence, f"{letter}_size": size}
        numbers[f"{letter}_md5"] = int.from_bytes(bytes.fromhex(md5), "little")
    for field, value in numbers.items():
        at, size_bytes = LAYOUT[field]
        data[at : at + size_bytes] = value.to_bytes(size_bytes, "little")
    data[:4] = b"MPBR"
    at, _ = LAYOUT["outcome"]
    data[at : at + len(outcome)] = outcome.encode()
    return checked(bytes(data) + more)


def checked(body):
    """Return a record of *body* whose check is right."""
    return body + hashlib.sha256(body).digest()[:CHECK_BYTES]


def record_of(fields):
    """Return the Record with these fields."""
    generation, active, trial, attempts, flags, new, floor, rejected, *slots, outcome = fields
    a, b = (SlotRecord(sequence, size, bytes.fromhex(md5)) for sequence, size, md5 in slots)
    return Record(
        generation, active, trial, attempts, flags == REVERT, new, floor, rejected, a, b, outcome
    )


def line(data, fields):
    """Return a line of the file."""
    *numbers, a, b, outcome = fields
    return " ".join(map(str, [data.hex(), *numbers, *a, *b, outcome.encode().hex() or "-"]))


def vectors():
    """Return the file's text."""
    lines = [line(packed(fields), fields) for fields in RECORDS]
    lines += [line(packed(RECORDS[2], *later), RECORDS[2]) for later in LATER]
    return "\n".join(lines) + "\n"


def test_the_layout_has_no_gap_and_no_overlap():
    at = 0
    for offset, size in LAYOUT.values():
        assert offset == at
        at += size
    assert at == RECORD_BYTES


def test_the_vectors_are_what_the_layout_says():
    assert VECTORS.read_text() == vectors()


@pytest.mark.parametrize("fields", RECORDS)
def test_a_record_is_written_and_read_as_the_layout_says(fields):
    assert record_of(fields).pack() == packed(fields)
    assert Record.parse(packed(fields)) == record_of(fields)


@pytest.mark.parametrize("later", LATER)
def test_a_record_of_a_later_version_is_read(later):
    assert Record.parse(packed(RECORDS[2], *later)) == record_of(RECORDS[2])


def test_a_letter_of_no_slot_is_read_as_none():
    assert Record.parse(packed((1, "c", "\0", *RECORDS[0][3:]))).active == "-"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MPBR",
        packed(RECORDS[0])[:-1],
        packed(RECORDS[0]) + b"\0",
        packed(RECORDS[0], version=1),
        packed(RECORDS[0], more=bytes(LONGEST_BYTES - RECORD_BYTES + 1)),
        checked(packed(RECORDS[0])[:-CHECK_BYTES].replace(b"MPBR", b"MPBS")),
    ],
)
def test_what_a_board_cannot_use_is_no_record(data):
    assert Record.parse(data) is None


def test_every_flipped_bit_of_a_record_is_found():
    data = packed(RECORDS[2])
    for at in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        assert Record.parse(bytes(flipped)) is None


def test_the_first_record_makes_slot_a_active_and_nothing_else():
    application = image.build(name="a", version="1", sequence=17, files={"app.mpy": b"M"})
    slot = (17, len(application), hashlib.md5(application).hexdigest())
    expected = packed((1, "a", "-", 0, 0, 0, 17, 0, slot, UNKNOWN, ""))
    assert first_record(application) == {"/.ota/record": expected}


if __name__ == "__main__":
    sys.stdout.write(f"{VECTORS.write_text(vectors())} characters written to {VECTORS}\n")
