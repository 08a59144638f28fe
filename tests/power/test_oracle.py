"""The oracle of the power tests can say no: it notices each way in which a flash is not whole."""

import hashlib
import struct

import pytest
from base_flash import base_flash, replace_files
from oracle import BrokenError, judge
from releases import NEW, OLD, SCENARIOS, release

_ACTIVE = "/.ota/b"  # of the board that was updated before


@pytest.fixture
def flash(tmp_path):
    """Give a copy of the flash image of a board that runs `old` in slot b."""
    path = tmp_path / "flash.img"
    path.write_bytes(base_flash(SCENARIOS["update"]).read_bytes())
    return path


def _record(active="b", trial="-", attempts=0, floor=2, sequence=0, size=0, digest=b""):
    body = struct.pack(
        "<4sI4B4I32s", b"MPBR", 9, ord(active), ord(trial), attempts, 0,
        floor, 0, sequence, size, digest,
    )  # fmt: skip
    return body + hashlib.sha256(body).digest()[:8]


def _pending(data):
    return _record(sequence=3, size=len(data), digest=hashlib.sha256(data).digest())


def test_the_oracle_knows_who_runs(flash):
    assert (judge(flash).state, judge(flash).runs) == ("idle", OLD)
    replace_files(flash, {"/.ota/staging": release(NEW), "/.ota/record": _pending(release(NEW))})
    assert (judge(flash).state, judge(flash).runs) == ("pending", NEW)


def test_the_oracle_counts_attempts(flash):
    for attempts, runs in ((0, "older"), (2, "older"), (3, OLD)):
        replace_files(flash, {"/.ota/record": _record(trial="a", attempts=attempts, sequence=1)})
        assert (judge(flash).state, judge(flash).runs) == ("trial", runs)


@pytest.mark.parametrize(
    "files",
    [
        {"/.ota/record": b""},
        {"/.ota/record": _record()[:-1] + b"?"},
        {"/.ota/record": _record(floor=3)},
        {"/.ota/record": _record(active="a")},
        {"/.ota/record": _record(trial="b", sequence=2)},
        {"/.ota/record": _record(trial="a", sequence=2)},
        {"/.ota/record": _pending(release(NEW))},
        {"/.ota/record": _pending(b"M" * 512), "/.ota/staging": release(NEW)},
        {f"{_ACTIVE}/pages/table.bin": b"short"},
        {f"{_ACTIVE}/more.py": b""},
        {f"{_ACTIVE}/lib/part.py": b'VERSION = "new"\n'},
    ],
    ids=lambda files: ",".join(files),
)
def test_the_oracle_notices_what_is_not_whole(flash, files):
    replace_files(flash, files)
    with pytest.raises(BrokenError):
        judge(flash)
