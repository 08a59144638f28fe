"""The boot record: only a valid record is loaded, as it was stored; and how it changes."""

import os
from binascii import unhexlify

from flash_stubs import Os, Watched, fails, fill_up
from ota import record
from ota.errors import OTAError
from ota.record import Record, load
from sample_image import empty_board, fill_slot, image, marks_of, runs
from uhashlib import sha256

_PATH = "/.ota/record"
_NEW = "/.ota/record.new"
_SIZE = 128
_CHECK = 8
_LONGEST = 256


def _content(path=_PATH):
    with open(path, "rb") as f:
        return f.read(1000)


def _put(body, path=_PATH):
    # Makes *body* and the check that is right for it the record.
    _write(bytes(body) + sha256(body).digest()[:_CHECK], path)


def _write(data, path=_PATH):
    with open(path, "wb") as f:
        f.write(data)


def _fields(r):
    return (
        r.generation,
        r.active,
        r.trial,
        r.attempts,
        r.is_revert,
        r.data,
        r.floor,
        r.rejected,
        tuple(r.received["a"]),
        tuple(r.received["b"]),
        r.outcome,
    )


def _sample(**fields):
    r = Record()
    r.generation = 40
    r.active = "a"
    r.trial = "b"
    r.attempts = 2
    r.floor = 17
    r.rejected = 16
    r.received = {"a": (17, 4608, bytes(range(16))), "b": (18, 5000, bytes(range(16, 32)))}
    r.outcome = "confirmed: 17"
    for name in fields:
        setattr(r, name, fields[name])
    return r


def _clean():
    empty_board()
    fill_slot("a", image(17))
    fill_slot("b", image(18))


# Stored and loaded


def test_there_is_none_on_an_empty_file_system():
    empty_board()
    assert load() is None


def test_what_is_stored_is_loaded():
    empty_board()
    for revert in (False, True):
        r = _sample(is_revert=revert)
        r.store()
        assert _fields(load()) == _fields(r)
        assert len(_content()) == _SIZE


def test_every_slot_and_none_is_kept():
    empty_board()
    for active in (None, "a", "b"):
        for trial in (None, "a", "b"):
            r = Record()
            r.active, r.trial = active, trial
            r.store()
            assert (load().active, load().trial) == (active, trial)


def test_an_outcome_that_is_too_long_is_told_in_part_or_not_at_all():
    empty_board()
    for outcome, kept in (("x" * 48, "x" * 48), ("x" * 49, "x" * 48), ("x" * 47 + "ü", "")):
        r = _sample(outcome=outcome)
        r.store()
        assert load().outcome == kept
        assert load().generation == r.generation


def test_the_vectors_are_read_and_written_byte_for_byte():
    empty_board()
    count = 0
    with open("/vectors/record.txt") as f:
        for line in f:
            words = line.split()
            data = unhexlify(words[0])
            slot = {"a": "a", "b": "b", "-": None}
            generation, attempts = int(words[1]), int(words[4])
            flags, data_field, floor, rejected = [int(words[i]) for i in (5, 6, 7, 8)]
            a = int(words[9]), int(words[10]), unhexlify(words[11])
            b = int(words[12]), int(words[13]), unhexlify(words[14])
            outcome = "" if words[15] == "-" else unhexlify(words[15]).decode()
            Record().store()
            _write(data)
            r = load()
            assert _fields(r) == (
                generation,
                slot[words[2]],
                slot[words[3]],
                attempts,
                bool(flags),
                data_field,
                floor,
                rejected,
                a,
                b,
                outcome,
            ), line
            r.generation -= 1  # store() adds one
            r.store()
            # One of a later version loses what this version does not know.
            if data[8] == 2:
                assert _content() == data, line
            count += 1
    assert count >= 14


def test_a_record_of_a_later_version_is_read_whatever_it_has_appended():
    empty_board()
    r = _sample()
    r.store()
    body = bytearray(_content()[:-_CHECK])
    for version in (2, 3, 255):
        for more in (0, 1, 40, _LONGEST - _SIZE):
            body[8] = version
            _put(body + b"?" * more)
            assert _fields(load()) == _fields(r), (version, more)


def test_a_record_of_an_earlier_version_or_too_long_a_one_is_not_loaded():
    empty_board()
    _sample().store()
    body = bytearray(_content()[:-_CHECK])
    _put(body + bytes(_LONGEST - _SIZE + 1))
    assert load() is None
    for version in (0, 1):
        body[8] = version
        _put(body)
        assert load() is None


def test_no_record_with_one_bit_flipped_is_loaded():
    empty_board()
    _sample().store()
    data = bytearray(_content())
    for i in range(_SIZE * 8):
        data[i // 8] ^= 1 << i % 8
        _write(data)
        assert load() is None, i
        data[i // 8] ^= 1 << i % 8
    _write(data)
    assert load()


def test_no_truncated_or_longer_record_is_loaded():
    empty_board()
    _sample().store()
    data = _content()
    for size in range(_SIZE):
        _write(data[:size])
        assert load() is None, size
    for more in (b"\0", data, bytes(4096)):
        _write(data + more)
        assert load() is None
    # With a check that is right, too.
    _put(data[: -_CHECK - 1])
    assert load() is None


def test_another_magic_with_a_right_check_is_not_loaded():
    empty_board()
    _sample().store()
    _put(b"MPBS" + _content()[4:-_CHECK])
    assert load() is None


def test_an_unknown_slot_letter_counts_as_none():
    empty_board()
    _sample().store()
    body = bytearray(_content()[:-_CHECK])
    body[9] = ord("c")
    body[10] = 0
    _put(body)
    assert (load().active, load().trial) == (None, None)


def test_a_record_new_is_ignored_and_replaced():
    empty_board()
    r = _sample()
    r.store()
    newer = _sample(generation=1000)
    newer.store()
    data = _content()
    r.store()
    os.rename(_PATH, _NEW)
    assert load() is None
    r.store()
    _write(data, _NEW)
    assert load().generation == r.generation
    _write(b"\xff" * 30, _NEW)
    assert load().generation == r.generation
    r.store()
    assert load().generation == r.generation
    assert "record.new" not in os.listdir("/.ota")


def test_the_generation_grows_with_every_store():
    empty_board()
    r = Record()
    for generation in range(1, 20):
        r.store()
        assert r.generation == load().generation == generation
        r = load()


def test_the_record_needs_no_folder_beforehand():
    empty_board()
    for name in os.listdir("/.ota"):
        os.remove("/.ota/" + name)
    os.rmdir("/.ota")
    Record().store()
    assert os.listdir("/.ota") == ["record"]
    assert _content()[:4] == b"MPBR"


# How it changes


def test_the_slot_that_is_not_active_is_idle():
    for active, idle in (("a", "b"), ("b", "a"), (None, "a")):
        assert _sample(active=active).idle == idle


def test_a_trial_begins_with_no_attempts():
    _clean()
    for revert in (False, True):
        r = _sample(trial=None, attempts=9)
        r.try_slot("b", revert)
        assert (load().trial, load().attempts, load().is_revert) == ("b", 0, revert)


def test_confirm_makes_the_trial_slot_active_and_raises_the_floor():
    _clean()
    r = _sample()
    received = r.received
    r.confirm()
    assert _fields(load()) == (
        41,
        "b",
        None,
        2,
        False,
        0,
        18,
        0,
        received["a"],
        received["b"],
        "confirmed: 18",
    )


def test_confirm_never_lowers_the_floor_nor_forgets_what_is_newer_and_was_taken_back():
    for sequence, rejected in ((5, 16), (16, 16), (17, 0)):
        _clean()
        r = _sample(received={"a": (17, 1, b""), "b": (sequence, 1, b"")})
        r.confirm()
        assert (load().floor, load().rejected) == (17, rejected), sequence


def test_reject_keeps_the_active_slot_marks_the_other_and_remembers_the_release():
    _clean()
    r = _sample(is_revert=True)
    r.reject("it hung")
    f = load()
    assert (f.active, f.trial, f.attempts, f.is_revert, f.floor) == ("a", None, 2, False, 17)
    assert (f.rejected, f.outcome) == (18, "taken back: 18: it hung")
    assert marks_of("b") == b"ACPTRJCT" and marks_of("a") == b"ACPT" + b"\xff" * 4


def test_a_slot_is_marked_as_rejected_before_the_record_forgets_the_trial():
    _clean()
    r = _sample()
    r.store()
    with Watched() as flash:
        flash.before = lambda *operation: fails()
        try:
            r.reject("x")
            raise AssertionError("no OSError")
        except OSError:
            pass
    assert load().trial == "b"


def test_data_on_trial_alone_are_confirmed_and_the_slot_stays_as_it_is():
    _clean()
    r = _sample(trial=None, active="b", rejected=19)
    before = _fields(r)
    r.try_slot("b", data=1)
    assert (load().active, load().trial, load().data, load().attempts) == ("b", "b", 1, 0)
    r.confirm()
    f = load()
    assert (f.trial, f.data, f.outcome) == (None, 0, "confirmed: data")
    assert _fields(f)[4:6] == (False, 0) and _fields(f)[6:10] == before[6:10]
    assert f.active == "b"


def test_data_on_trial_alone_are_taken_back_and_no_release_is_rejected():
    _clean()
    r = _sample(trial=None)
    r.try_slot("a", data=1)
    r.reject("it hung")
    f = load()
    assert (f.active, f.trial, f.data, f.rejected) == ("a", None, 2, 16)
    assert f.outcome == "taken back: data: it hung" and marks_of("a") == b"ACPT" + b"\xff" * 4


def test_data_on_trial_with_a_release_share_its_end():
    _clean()
    r = _sample(trial=None)
    r.try_slot("b", data=1)
    assert (load().trial, load().data) == ("b", 1)
    load().confirm()
    f = load()
    assert (f.active, f.data, f.outcome) == ("b", 0, "confirmed: 18")
    _clean()
    for end in (lambda: load().reject("x"), lambda: load().end_trial("failed: x")):
        r.try_slot("b", data=1)
        end()
        assert (load().active, load().trial, load().data) == ("a", None, 2)
    r.try_slot("b")
    assert load().data == 0
    load().end_trial("failed: x")
    assert load().data == 0


def test_end_trial_rejects_nothing():
    _clean()
    r = _sample()
    r.end_trial("failed: it is not whole")
    f = load()
    assert (f.active, f.trial, f.attempts, f.rejected) == ("a", None, 2, 16)
    assert f.outcome == "failed: it is not whole" and marks_of("b") == b"ACPT" + b"\xff" * 4


def test_after_a_revert_the_release_that_was_left_is_the_rejected_one():
    _clean()
    r = _sample(active="b", trial="a", is_revert=True, floor=18, rejected=0)
    r.confirm()
    f = load()
    assert (f.active, f.trial, f.floor, f.rejected, f.is_revert) == ("a", None, 18, 18, False)


def test_a_revert_that_is_taken_back_rejects_the_version_before():
    _clean()
    r = _sample(active="b", trial="a", is_revert=True, floor=18, rejected=0)
    r.reject("x")
    assert (load().active, load().floor, load().rejected) == ("b", 18, 17)


def test_a_confirm_or_reject_without_a_trial_changes_nothing():
    # The one before may have been done, though the flash said that it was not.
    _clean()
    r = _sample()
    r.confirm()
    before = _content()
    r.confirm()
    r.reject("x")
    assert _content() == before and load().active == "b" and marks_of("b")[4:] == b"\xff" * 4


# Flash that fails


def _refuses(function):
    try:
        function()
    except OSError:
        return True
    return False


def test_when_the_flash_does_not_take_it_the_old_record_stands():
    empty_board()
    r = _sample()
    r.store()
    before = _content()
    r.floor = 99
    try:
        record.uos = Os(rename=fails)
        assert _refuses(r.store)
    finally:
        record.uos = os
    assert _content() == before
    try:
        record.open = fails
        assert _refuses(r.store)
    finally:
        del record.open
    assert _content() == before


def test_what_does_not_read_back_as_written_is_not_renamed():
    empty_board()
    r = _sample()
    r.store()
    before = _content()
    real = record._read
    try:
        record._read = lambda path: real(path)[:-1] + b"?"
        assert _refuses(r.store)
    finally:
        record._read = real
    assert _content() == before


def test_a_full_file_system_still_takes_a_record():
    empty_board()
    r = _sample()
    r.store()
    fillers = fill_up()
    try:
        for _ in range(20):
            r.store()
        assert load().generation == r.generation
    finally:
        for name in fillers:
            os.remove(name)


def test_a_flash_that_does_not_answer_is_no_missing_record():
    empty_board()
    _sample().store()
    record.open = fails
    try:
        assert _refuses(load) and _refuses(record.load_for_update)
    finally:
        del record.open
    assert load().generation == 41


def test_without_a_record_an_update_begins_only_where_no_application_runs():
    empty_board()
    assert record.load_for_update().active is None
    for slot in "ab":
        for is_trial in (False, True):
            runs(slot, is_trial)
            try:
                record.load_for_update()
                raise AssertionError("no OTAError")
            except OTAError as e:
                assert e.code == 3 and "restart the board" in e.detail
    runs(None)
    assert record.load_for_update().active is None
