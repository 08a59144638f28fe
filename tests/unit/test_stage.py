"""Which verified release this board takes: floor, jump, way back, application, board."""

import os
import sys

from ota import record, slots
from ota.manifest import Manifest
from ota.stage import stage
from sample_image import code_of, manifest

_FLOOR = 5000000
_JUMP = 1000000
_DIGEST = bytes(range(32))


def _release(sequence=_FLOOR + 1, **lines):
    m = Manifest()
    m.name, m.version, m.sequence, m.files, m.total_bytes = "garden", "1", sequence, 1, 100
    for key in lines:
        setattr(m, key, lines[key])
    return m


def _board(running="garden", **fields):
    # Leaves the record, and in slot a the manifest of the application *running*, or none.
    slots.remove("/.ota")
    r = record.Record()
    r.active, r.floor = "a", _FLOOR
    for name in fields:
        setattr(r, name, fields[name])
    r.store()
    if running is not None:
        os.mkdir("/.ota/a")
        text = manifest([("app.py", b"")]).replace(b"name sample", b"name " + running.encode())
        with open("/.ota/a/MANIFEST", "wb") as f:
            f.write(text)


def _verdict(release, **settings):
    # The number of the error, with the record as it was; None, with the release in it.
    before = record.load()
    code = code_of(stage, release, 4321, _DIGEST, settings)
    after = record.load()
    if code is None:
        assert after.generation == before.generation + 1
        assert (after.sequence, after.size_bytes) == (release.sequence, 4321)
        assert after.digest == _DIGEST
    else:
        assert after.__dict__ == before.__dict__
    assert (after.floor, after.active, after.rejected) == (
        before.floor,
        before.active,
        before.rejected,
    )
    return code


def test_the_floor():
    for sequence, code in ((1, 36), (_FLOOR - 1, 36), (_FLOOR, None), (_FLOOR + 1, None)):
        _board()
        assert _verdict(_release(sequence)) == code, sequence


def test_the_release_that_was_taken_back():
    for sequence, code in ((_FLOOR + 6, None), (_FLOOR + 7, 35), (_FLOOR + 8, None)):
        _board(rejected=_FLOOR + 7)
        assert _verdict(_release(sequence)) == code, sequence


def test_a_jump():
    for jump, code in ((_JUMP, None), (_JUMP + 1, 43), (0x3FFFFFFF - _FLOOR, 43)):
        _board()
        assert _verdict(_release(_FLOOR + jump)) == code, jump


def test_without_a_floor_any_sequence_is_taken():
    _board(floor=0)
    assert _verdict(_release(0x3FFFFFFF)) is None
    slots.remove("/.ota")
    assert code_of(stage, _release(0x3FFFFFFF), 4321, _DIGEST, {}) is None


def test_going_back_takes_the_image_and_the_board():
    for downgrade, allowed, code in (
        ("", False, 36),
        ("yes", False, 36),
        ("", True, 36),
        ("yes", True, None),
        ("no", True, 36),
        ("YES", True, 36),
    ):
        _board()
        release = _release(_FLOOR - 1, downgrade=downgrade)
        assert _verdict(release, allow_downgrade=allowed) == code, (downgrade, allowed)
        if not allowed:
            assert _verdict(release) == 36


def test_going_back_takes_back_nothing_else():
    _board(rejected=3)
    assert _verdict(_release(3, downgrade="yes"), allow_downgrade=True) == 35
    assert _verdict(_release(_FLOOR + _JUMP + 1, downgrade="yes"), allow_downgrade=True) == 43
    assert _verdict(_release(2, downgrade="yes", board="esp32"), allow_downgrade=True) == 41
    assert _verdict(_release(2, downgrade="yes", name="other"), allow_downgrade=True) == 44


def test_the_floor_does_not_fall_when_an_older_release_is_confirmed():
    _board()
    assert _verdict(_release(9, downgrade="yes"), allow_downgrade=True) is None
    r = record.load()
    r.trial, r.size_bytes, r.digest = "b", 0, b""
    r.confirm()
    r = record.load()
    assert (r.active, r.floor) == ("b", _FLOOR)


def test_the_application_is_that_of_the_active_slot():
    _board("garden")
    assert _verdict(_release(name="Garden")) == 44
    assert _verdict(_release(name="garden2")) == 44
    assert _verdict(_release(name="garden")) is None


def test_the_application_can_be_a_setting():
    for app, name, code in (
        ("*", "other", None),
        ("*", "garden", None),
        ("other", "other", None),
        ("other", "garden", 44),
        ("", "other", 44),
        (None, "other", 44),
    ):
        _board("garden")
        assert _verdict(_release(name=name), app=app) == code, (app, name)


def test_a_board_without_an_application_takes_any():
    _board(None)
    assert _verdict(_release(name="other")) is None
    _board(None, active=None)
    assert _verdict(_release(name="other")) is None
    _board("garden")
    with open("/.ota/a/MANIFEST", "wb") as f:
        f.write(b"not a manifest\n")
    assert _verdict(_release(name="other")) is None


def test_a_manifest_that_is_not_text_names_no_application():
    _board("garden")
    with open("/.ota/a/MANIFEST", "wb") as f:
        f.write(b"mpota 1\nname \xff\xfe\n")
    assert _verdict(_release(name="other")) is None


class _Endless:
    # A file that has no newline and no end.
    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def readline(self, n):
        return b"x" * n

    def __iter__(self):
        raise MemoryError


def test_a_manifest_of_one_endless_line_names_no_application():
    _board("garden")
    module = sys.modules["ota.stage"]
    module.open = lambda name, mode: _Endless()
    try:
        assert _verdict(_release(name="other")) is None
    finally:
        del module.open


def test_a_lack_of_memory_does_not_let_another_application_in():
    def no_memory(name, mode):
        raise MemoryError

    _board("garden")
    module = sys.modules["ota.stage"]
    module.open = no_memory
    try:
        stage(_release(name="other"), 4321, _DIGEST, {})
        raise AssertionError("no MemoryError")
    except MemoryError:
        pass
    finally:
        del module.open
    assert record.load().size_bytes == 0


def test_the_board():
    for board, code in (("", None), ("esp8266", None), ("esp32", 41), ("ESP8266", 41)):
        _board()
        assert _verdict(_release(board=board)) == code, board


def test_the_version_of_bytecode():
    for mpy, code in (("", None), ("6.3", None), ("6", 41), ("6.2", 41), ("6.30", 41)):
        _board()
        assert _verdict(_release(mpy=mpy)) == code, mpy
