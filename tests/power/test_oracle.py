"""The oracle of the power tests can say no: it notices each way in which a flash is not whole."""

import hashlib
import struct

import pytest
from base_flash import base_flash, replace_files
from oracle import RECORD, SLOTS, BrokenError, judge
from releases import NEW, OLD, OLDER, release
from scenarios import SCENARIOS

_END = 0x19000  # of a slot


@pytest.fixture
def board(tmp_path):
    """Return a copy of the flash of a board that runs `old` in slot b, with `older` in slot a."""
    path = tmp_path / "flash.img"
    path.write_bytes(base_flash(SCENARIOS["update"]).read_bytes())
    return _Flash(path)


class _Flash:
    def __init__(self, path):
        self.path = path

    def put(self, letter, at, data):
        flash = bytearray(self.path.read_bytes())
        flash[SLOTS[letter] + at : SLOTS[letter] + at + len(data)] = data
        self.path.write_bytes(flash)

    def put_image(self, letter, image, marks):
        self.put(letter, 0, image.ljust(_END - 8, b"\xff") + marks)

    def put_record(self, data):
        replace_files(self.path, {RECORD: data})


def _slot(version):
    image = release(version)
    sequence = {OLDER: 1, OLD: 2, NEW: 3}[version]
    return struct.pack("<II16s", sequence, len(image), hashlib.md5(image).digest())


def _record(active="b", trial="-", attempts=0, flags=0, floor=2, a=OLDER, b=OLD, zeros=b""):
    body = struct.pack("<4sIBBBBB3sII", b"MPBR", 99, 2, ord(active), ord(trial), attempts, flags,
                       zeros, floor, 0)  # fmt: skip
    body += _slot(a) + _slot(b) + bytes(48)
    return body + hashlib.sha256(body).digest()[:8]


_ACCEPTED, _REJECTED, _BLANK = b"ACPT" + b"\xff" * 4, b"ACPTRJCT", b"\xff" * 8


def _says(flash):
    verdict = judge(flash.path, may_lack_record=True)
    return verdict.state, verdict.runs, verdict.takes_back


def test_the_oracle_knows_who_runs(board):
    assert _says(board) == ("idle", OLD, False)
    board.put_image("a", release(NEW), _ACCEPTED)
    assert _says(board) == ("idle", OLD, False)
    board.put_record(_record(trial="a", a=NEW))
    assert _says(board) == ("trial", NEW, False)


def test_the_oracle_counts_attempts_and_looks_at_marks(board):
    for attempts, runs, takes_back in ((0, OLDER, False), (2, OLDER, False), (3, OLD, True)):
        board.put_record(_record(trial="a", attempts=attempts))
        assert _says(board) == ("trial", runs, takes_back)
    board.put_record(_record(trial="a"))
    board.put("a", _END - 4, b"R")
    assert _says(board) == ("trial", OLD, True)


@pytest.mark.parametrize(("marks", "runs"), [(_ACCEPTED, NEW), (_REJECTED, OLD), (_BLANK, OLD)])
def test_without_a_record_the_newest_version_runs_that_is_usable(board, marks, runs):
    board.put_record(b"not a record")
    board.put_image("a", release(NEW), marks)
    assert _says(board) == ("lost", runs, False)
    board.put("b", 0x1000, b"damage")
    assert _says(board) == ("lost", NEW if runs == NEW else None, False)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        _record()[:-1] + b"?",
        _record()[:80],
        _record(active="c"),
        _record(flags=1),
        _record(trial="a", flags=2),
        _record(trial="a", attempts=4),
        _record(zeros=b"x"),
        _record(trial="b"),
        _record(floor=1),
        _record(b=NEW),
        _record(trial="a", a=OLD),
    ],
)
def test_the_oracle_notices_a_record_that_must_not_be(board, record):
    board.put_record(record)
    with pytest.raises(BrokenError):
        judge(board.path)


@pytest.mark.parametrize("letter", SLOTS)
@pytest.mark.parametrize(
    ("at", "data"),
    [
        (0, b"\0"),
        (0x1000, b"damage"),
        (len(release(OLD)) - 1, b"\0"),
        (_END - 8, b"ACP\0"),
        (_END - 8, b"\xff" * 4),
    ],
)
def test_the_oracle_notices_what_is_not_whole_in_a_slot_that_the_record_names(
    board, letter, at, data
):
    board.put_record(_record(trial="a"))
    judge(board.path)
    board.put(letter, at, data)
    with pytest.raises(BrokenError):
        judge(board.path)


def test_the_oracle_notices_that_the_active_slot_is_marked_as_rejected(board):
    board.put("b", _END - 4, b"RJCT")
    with pytest.raises(BrokenError):
        judge(board.path)


def test_the_oracle_notices_another_image_of_the_same_version(board):
    board.put_image("b", release(OLD, "breaks"), _ACCEPTED)
    with pytest.raises(BrokenError, match="MD5"):
        judge(board.path)
