"""The boot record: what is stored is what is loaded, and nothing else is."""

import os
import sys
from binascii import hexlify, unhexlify
from hashlib import sha256

from flash_stubs import Os, fails, fill_up
from ota import record, slots
from ota.errors import OTAError
from ota.record import Record, load

_PATH = "/.ota/record"
_NEW = "/.ota/record.new"
_SIZE = 68


def _clean():
    slots.remove("/.ota")


def _content(path=_PATH):
    with open(path, "rb") as f:
        return f.read(1000)


def _put(data, path=_PATH):
    with open(path, "wb") as f:
        f.write(data)


def _fields(r):
    return (
        r.generation,
        r.active,
        r.trial,
        r.attempts,
        r.floor,
        r.rejected,
        r.sequence,
        r.size_bytes,
        bytes(r.digest),
    )


def _sample():
    r = Record()
    r.generation = 40
    r.active = "a"
    r.trial = "b"
    r.attempts = 2
    r.floor = 17
    r.rejected = 16
    r.sequence = 18
    r.size_bytes = 123456
    r.digest = sha256(b"image").digest()
    return r


def test_there_is_none_on_an_empty_file_system():
    _clean()
    assert load() is None


def test_what_is_stored_is_loaded():
    _clean()
    r = _sample()
    r.store()
    assert _fields(load()) == _fields(r)
    assert len(_content()) == _SIZE


def test_every_slot_and_none_is_kept():
    _clean()
    for active in (None, "a", "b"):
        for trial in (None, "a", "b"):
            r = Record()
            r.active, r.trial = active, trial
            r.store()
            assert (load().active, load().trial) == (active, trial)


def test_the_vectors_are_read_and_written_byte_for_byte():
    _clean()
    count = 0
    with open("/vectors/record.txt") as f:
        for line in f:
            words = line.split()
            data = unhexlify(words[0])
            slot = {"a": "a", "b": "b", "-": None}
            numbers = [int(word) for word in words[4:8]]
            expected = [int(words[1]), slot[words[2]], slot[words[3]]] + numbers
            # What is left of the line: the size in bytes and the digest.
            expected = tuple(expected + [int(words[8]), unhexlify(words[9])])
            record.Record().store()
            _put(data)
            r = load()
            assert _fields(r) == expected, line
            r.generation -= 1  # store() adds one
            r.store()
            assert _content() == data, line
            count += 1
    assert count == 9


def test_no_record_with_one_bit_flipped_is_loaded():
    _clean()
    _sample().store()
    data = bytearray(_content())
    for i in range(_SIZE * 8):
        data[i // 8] ^= 1 << i % 8
        _put(data)
        assert load() is None, i
        data[i // 8] ^= 1 << i % 8
    _put(data)
    assert load()


def test_no_truncated_or_longer_record_is_loaded():
    _clean()
    _sample().store()
    data = _content()
    for size in range(_SIZE):
        _put(data[:size])
        assert load() is None, size
    for more in (b"\0", data, bytes(4096)):
        _put(data + more)
        assert load() is None


def test_another_magic_with_a_right_checksum_is_not_loaded():
    _clean()
    _sample().store()
    body = b"MPBS" + _content()[4:60]
    _put(body + sha256(body).digest()[:8])
    assert load() is None


def test_an_unknown_slot_letter_counts_as_none():
    _clean()
    _sample().store()
    body = bytearray(_content()[:60])
    body[8] = ord("c")
    body[9] = 0
    _put(bytes(body) + sha256(body).digest()[:8])
    assert (load().active, load().trial) == (None, None)


def test_a_record_new_is_ignored_and_replaced():
    _clean()
    r = _sample()
    r.store()
    newer = _sample()
    newer.generation = 1000
    newer.store()
    data = _content()
    r.store()
    os.rename(_PATH, _NEW)
    assert load() is None
    r.store()
    _put(data, _NEW)
    assert load().generation == r.generation
    _put(b"\xff" * 30, _NEW)
    assert load().generation == r.generation
    r.store()
    assert load().generation == r.generation
    assert "record.new" not in os.listdir("/.ota")


def test_the_generation_grows_with_every_store():
    _clean()
    r = Record()
    for generation in range(1, 20):
        r.store()
        assert r.generation == load().generation == generation
        r = load()


def test_confirm_makes_the_trial_slot_active_and_raises_the_floor():
    _clean()
    r = _sample()
    r.size_bytes, r.digest = 0, b""
    r.confirm()
    assert _fields(load()) == (41, "b", None, 0, 18, 0, 0, 0, bytes(32))


def test_confirm_never_lowers_the_floor():
    _clean()
    r = _sample()
    r.sequence = 5
    r.confirm()
    assert (load().floor, load().rejected) == (17, 16)  # it is older than what was taken back


def test_reject_keeps_the_active_slot_and_remembers_the_release():
    _clean()
    r = _sample()
    r.size_bytes, r.digest = 0, b""
    r.reject()
    assert _fields(load()) == (41, "a", None, 0, 17, 18, 0, 0, bytes(32))


def test_drop_pending_forgets_the_image_and_nothing_else():
    _clean()
    r = _sample()
    r.trial, r.attempts = None, 0
    r.drop_pending()
    assert _fields(load()) == (41, "a", None, 0, 17, 16, 0, 0, bytes(32))


def _refuses(r):
    try:
        r.store()
        raise AssertionError("no OSError")
    except OSError:
        pass


def test_when_the_flash_does_not_take_it_the_old_record_stands():
    _clean()
    r = _sample()
    r.store()
    before = _content()
    r.floor = 99
    try:
        record.os = Os(rename=fails)
        _refuses(r)
    finally:
        record.os = os
    assert _content() == before
    try:
        record.open = fails
        _refuses(r)
    finally:
        del record.open
    assert _content() == before


def test_what_does_not_read_back_as_written_is_not_renamed():
    _clean()
    r = _sample()
    r.store()
    before = _content()
    real = record._read
    try:
        record._read = lambda path: real(path)[:-1] + b"?"
        try:
            r.store()
            raise AssertionError("no OSError")
        except OSError:
            pass
    finally:
        record._read = real
    assert _content() == before


def test_a_full_file_system_still_takes_a_record():
    _clean()
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


def test_the_record_needs_no_folder_beforehand():
    _clean()
    assert ".ota" not in os.listdir("/")
    Record().store()
    assert os.listdir("/.ota") == ["record"]
    assert hexlify(_content()[:4]) == b"4d504252"


def test_a_flash_that_does_not_answer_is_no_missing_record():
    _clean()
    _sample().store()
    record.open = fails
    try:
        for read in (load, record.load_for_update):
            try:
                read()
                raise AssertionError("no OSError")
            except OSError:
                pass
    finally:
        del record.open
    assert load().generation == 41


def test_without_a_record_an_update_begins_only_where_no_application_runs():
    _clean()
    assert record.load_for_update().active is None
    sys.path.insert(0, "/.ota/b")
    try:
        record.load_for_update()
        raise AssertionError("no OTAError")
    except OTAError as e:
        assert e.code == 3 and "restart the board" in e.detail
    finally:
        sys.path.pop(0)


def test_a_confirm_or_reject_without_a_trial_changes_nothing():
    # The one before may have been done, though the flash said that it was not.
    _clean()
    r = _sample()
    r.confirm()
    before = _content()
    r.confirm()
    r.reject()
    assert _content() == before and load().active == "b"
