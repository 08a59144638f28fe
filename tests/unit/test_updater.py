"""The Updater: what it takes, what it refuses with which number, whom it tells, what it leaves."""

import os
import time
from binascii import hexlify
from hashlib import sha256

import sample_image
from flash_stubs import Os, fails
from ota import Callbacks, record, slots, updater
from ota.errors import OTAError
from ota.md5 import md5
from ota.record import Record, load
from ota.updater import STAGING, Updater
from sample_image import FILES, code_of, image

_IMAGE = image(FILES)
_CHUNK = 1460


class Ota(Callbacks):
    """What an Updater uses of `ota.OTA`."""

    gate = None
    window = None

    def __init__(self, **settings):
        self.settings = settings


def _clean(**fields):
    # Leaves nothing on flash but a record with *fields*, and returns an Updater.
    slots.remove("/.ota")
    r = Record()
    r.active = "a"
    for name in fields:
        setattr(r, name, fields[name])
    r.store()
    return Updater(Ota(), Callbacks())


def _send(u, data=_IMAGE, size=None, **end):
    # A whole update in chunks.
    u.begin(len(data) if size is None else size)
    for at in range(0, len(data), _CHUNK):
        u.write(data[at : at + _CHUNK])
    u.end(**end)


def _exists(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _digest_hex(data):
    digest = md5()
    digest.update(data)
    return hexlify(digest.digest()).decode()


def _is_discarded(u, code):
    # Nothing is left of the update but its error; the record names no image.
    assert (u.error, u.is_running, u.is_finished) == (code, False, False), (u.error, u.is_running)
    assert u.buffer is None and u.md5 is None and u.sha256 is None
    assert not _exists(STAGING)
    r = load()
    assert (r.active, r.trial, r.size_bytes) == ("a", None, 0)
    return True


# An update that succeeds


def test_an_update_is_staged_and_named_in_the_record():
    u = _clean(floor=3, rejected=2)
    generation = load().generation
    u.begin(len(_IMAGE))
    assert u.is_running and not u.is_finished and u.remaining == len(_IMAGE)
    assert len(u.buffer) == _CHUNK
    for at in range(0, len(_IMAGE), _CHUNK):
        part = _IMAGE[at : at + _CHUNK]
        assert u.write(part) == len(part)
        assert u.progress == at + len(part) == len(_IMAGE) - u.remaining
    assert u.is_finished
    assert load().generation == generation  # the record is not touched before the end
    u.end()
    assert (u.is_running, u.error, u.progress) == (False, 0, len(_IMAGE))
    with open(STAGING, "rb") as f:
        assert f.read(len(_IMAGE) + 1) == _IMAGE
    r = load()
    assert (r.active, r.trial, r.attempts, r.floor, r.rejected) == ("a", None, 0, 3, 2)
    assert (r.sequence, r.size_bytes) == (7, len(_IMAGE))
    assert r.digest == sha256(_IMAGE).digest()
    assert r.generation == generation + 1


def test_it_can_be_used_again():
    u = _clean()
    for sequence in (7, 9, 8):
        data = image(FILES, sequence)
        _send(u, data)
        assert load().sequence == sequence
        assert load().digest == sha256(data).digest()


def test_a_board_without_a_record_takes_an_update():
    u = _clean()
    slots.remove("/.ota")
    _send(u)
    assert (load().active, load().size_bytes) == (None, len(_IMAGE))


def test_chunks_may_have_any_size():
    for size in (1, 7, 512, 5000):
        u = _clean()
        u.begin(len(_IMAGE))
        for at in range(0, len(_IMAGE), size):
            u.write(memoryview(_IMAGE)[at : at + size])
        u.write(b"")
        u.end()
        assert load().size_bytes == len(_IMAGE)


def test_a_trailer_behind_the_tar_is_staged_with_it():
    u = _clean()
    _send(u, _IMAGE + b"signature")
    assert load().size_bytes == len(_IMAGE) + 9


def test_the_end_is_done_in_steps():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    steps = 0
    for _ in u.ending():
        assert load().size_bytes == 0
        steps += 1
    assert steps > 5
    assert load().size_bytes == len(_IMAGE)


def test_an_end_that_is_not_carried_on_can_be_aborted():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    steps = u.ending()
    for _ in range(4):
        next(steps)
    steps.close()
    u.abort(6)
    assert _is_discarded(u, 6)


# begin, write, end, abort


def test_a_second_begin_is_error_15_and_does_the_running_one_no_harm():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE[:1000])
    assert code_of(u.begin, 5000) == 15
    assert (u.is_running, u.error, u.progress) == (True, 0, 1000)
    u.write(_IMAGE[1000:])
    u.end()
    assert load().size_bytes == len(_IMAGE)


def test_while_one_runs_another_updater_s_begin_is_error_15():
    u = _clean()
    other = updater.Updater(u.ota, Callbacks())
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    end = u.ending()
    next(end)
    assert code_of(other.begin, 5000) == 15
    other.abort(6)
    for _ in end:
        pass
    assert load().size_bytes == len(_IMAGE)
    other.begin(5000)
    other.abort(6)
    assert updater.running is None


def test_a_size_of_nothing_or_less_is_error_5():
    for size in (0, -1):
        u = _clean()
        assert code_of(u.begin, size) == 5
        assert _is_discarded(u, 5)


def test_another_command_than_0_is_error_16():
    for command in (100, 1, 200, -1):
        u = _clean()
        assert code_of(u.begin, 5000, command) == 16
        assert _is_discarded(u, 16)


def test_a_write_past_the_size_is_error_4_and_takes_nothing():
    u = _clean()
    u.begin(1000)
    u.write(_IMAGE[:600])
    assert code_of(u.write, _IMAGE[600:1001]) == 4
    assert u.progress == 600
    assert _is_discarded(u, 4)


def test_an_end_before_all_bytes_is_error_37():
    u = _clean()
    u.begin(len(_IMAGE) + 1)
    u.write(_IMAGE)
    assert code_of(u.end) == 37
    assert _is_discarded(u, 37)


def test_even_if_remaining_makes_what_was_received_the_size():
    u = _clean()
    _send(u, size=100000, even_if_remaining=True)
    assert (load().size_bytes, u.remaining) == (len(_IMAGE), 0)


def test_even_if_remaining_takes_no_half_image():
    u = _clean()
    assert code_of(lambda: _send(u, _IMAGE[:-512], 100000, even_if_remaining=True)) == 37
    assert _is_discarded(u, 37)


def test_no_data_at_all_is_error_13():
    for even_if_remaining in (False, True):
        u = _clean()
        u.begin(5000)
        assert code_of(u.end, even_if_remaining) == 13
        assert _is_discarded(u, 13)


def test_write_and_end_without_begin_are_error_13():
    u = _clean()
    assert code_of(u.write, b"M") == 13
    assert code_of(u.end) == 13
    assert _is_discarded(u, 13)


def test_after_an_error_write_and_end_repeat_it():
    u = _clean()
    u.begin(10)
    assert code_of(u.write, b"M" * 11) == 4
    assert code_of(u.write, b"M") == 4
    assert code_of(u.end) == 4
    _send(u)
    assert load().size_bytes == len(_IMAGE)


def test_the_first_byte_must_be_that_of_a_tar_with_manifest():
    u = _clean()
    for byte in range(256):
        u.begin(10)
        code = code_of(u.write, bytes([byte]))
        assert code == (None if byte == ord("M") else 10), byte
        assert u.is_running == (code is None)
        u.abort(0)
    # The first byte alone.
    u.begin(10)
    u.write(b"M")
    u.write(b"\xe9")
    u.abort(0)  # a file that is written to must not be left to the garbage collector


def test_abort_discards_and_keeps_the_reason():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE[:2000])
    u.abort(6)
    assert _is_discarded(u, 6)
    u.abort(4)
    assert u.error == 6


def test_abort_after_success_does_nothing():
    u = _clean()
    _send(u)
    u.abort(6)
    assert (u.error, load().size_bytes) == (0, len(_IMAGE))
    assert _exists(STAGING)


# MD5


def test_the_right_md5_in_either_case_is_taken():
    for digest in (_digest_hex(_IMAGE), _digest_hex(_IMAGE).upper()):
        u = _clean()
        u.begin(len(_IMAGE))
        u.set_md5(digest)
        u.write(_IMAGE)
        u.end()
        assert load().size_bytes == len(_IMAGE)


def test_another_md5_is_error_7_with_both():
    u = _clean()
    u.begin(len(_IMAGE))
    u.set_md5("0" * 32)
    u.write(_IMAGE)
    try:
        u.end()
        raise AssertionError("no OTAError")
    except OTAError as e:
        assert str(e) == (
            "ERROR[7]: MD5 verification failed: expected: %s, calculated: %s"
            % ("0" * 32, _digest_hex(_IMAGE))
        )
    assert _is_discarded(u, 7)


def test_an_md5_of_another_length_is_error_7():
    for digest in ("", "0" * 31, "0" * 33):
        u = _clean()
        u.begin(5000)
        assert code_of(u.set_md5, digest) == 7
        assert _is_discarded(u, 7)


def test_an_update_without_md5_does_not_use_that_of_the_one_before():
    u = _clean()
    u.begin(len(_IMAGE))
    u.set_md5("0" * 32)
    u.abort(6)
    _send(u)
    assert load().size_bytes == len(_IMAGE)


# Whether it may begin


def test_a_gate_that_is_closed_or_raises_is_error_33():
    def raises():
        raise ValueError("gate")

    for gate in (lambda: False, lambda: 0, lambda: None, raises):
        u = _clean()
        u.ota.gate = gate
        assert code_of(u.begin, 5000) == 33
        assert _is_discarded(u, 33)
    u.ota.gate = lambda: 1
    _send(u)


def test_a_window_that_is_open_is_enough():
    u = _clean()
    u.ota.window = time.ticks_add(time.ticks_ms(), 60000)
    u.ota.gate = lambda: False
    _send(u)
    u.ota.gate = None
    _send(u)


def test_after_the_window_the_gate_decides():
    u = _clean()
    for window in (time.ticks_add(time.ticks_ms(), -1), 0):
        u.ota.window = window
        u.ota.gate = None
        assert code_of(u.begin, 5000) == 33
        u.ota.gate = lambda: False
        assert code_of(u.begin, 5000) == 33
        u.ota.gate = lambda: True
        _send(u)


def test_during_a_trial_it_is_error_34():
    called = []
    u = _clean(trial="b", sequence=6)
    u.ota.on_start(lambda: called.append(1))
    before = load().generation
    assert code_of(u.begin, 5000) == 34
    assert not called and load().generation == before and load().trial == "b"


def test_more_than_there_is_at_all_is_error_4_before_the_application_hears_of_it():
    called = []
    u = _clean()
    u.ota.on_start(lambda: called.append(1))
    assert code_of(u.begin, 2 * 1024 * 1024) == 4
    assert code_of(u.begin, 1 << 40) == 4
    assert not called and _is_discarded(u, 4)


def test_more_than_is_free_is_error_4_and_spares_the_active_slot():
    u = _clean()
    for slot in "ab":
        os.mkdir(slots.path(slot))
    with open("/big", "wb") as f:
        block = bytes(4096)
        for _ in range(500):
            f.write(block)
    try:
        assert code_of(u.begin, 1024 * 1024) == 4
        assert _is_discarded(u, 4)
        assert _exists(slots.path("a")) and not _exists(slots.path("b"))
    finally:
        os.remove("/big")


def test_the_pending_image_is_dropped_before_its_file_is_written_over():
    u = _clean()
    _send(u)
    u.begin(5000)
    r = load()
    assert (r.size_bytes, r.sequence, r.digest) == (0, 0, bytes(32))
    u.write(_IMAGE[:100])
    u.abort(6)
    assert _is_discarded(u, 6)


def test_a_refused_update_leaves_the_pending_image():
    u = _clean()
    _send(u)

    def veto():
        raise RuntimeError("not now")

    u.ota.on_start(veto)
    assert code_of(u.begin, 5000) == 32
    assert code_of(u.begin, 0) == 5
    assert code_of(u.begin, 5000, 100) == 16
    assert load().size_bytes == len(_IMAGE) and _exists(STAGING)


# Whom it tells


def _recording(u, *events):
    # Returns the list of what is called, in order.
    calls = []
    for name, callbacks in (("ota", u.ota), ("service", u._callbacks)):
        for event in events:
            register = getattr(callbacks, "on_" + event)
            register(lambda *args, who=name, what=event: calls.append((who, what) + args))
    return calls


def test_start_comes_before_the_first_byte_and_progress_after_every_write():
    u = _clean()
    calls = _recording(u, "start", "end", "progress", "error")
    seen = []
    record_start = u.ota.start_callback

    def start():
        seen.append(_exists(STAGING))
        record_start()

    u.ota.on_start(start)
    u.begin(len(_IMAGE))
    u.write(_IMAGE[:600])
    u.write(_IMAGE[600:])
    u.end()
    size = len(_IMAGE)
    assert seen == [False]
    assert calls == [
        ("ota", "start"),
        ("service", "start"),
        ("ota", "progress", 600, size),
        ("service", "progress", 600, size),
        ("ota", "progress", size, size),
        ("service", "progress", size, size),
    ]  # "end" and "error" are for the transport to call, with its own number


def test_call_reaches_ota_first_and_then_the_service():
    u = _clean()
    calls = _recording(u, "end", "error")
    u.call("end")
    u.call("error", 4)
    assert calls == [
        ("ota", "end"),
        ("service", "end"),
        ("ota", "error", 4),
        ("service", "error", 4),
    ]


def test_an_on_start_that_raises_is_error_32_with_its_words():
    for callbacks in ("ota", "_callbacks"):
        u = _clean()

        def veto():
            raise RuntimeError("the valve is open " + "x" * 100)

        getattr(u, callbacks).on_start(veto)
        try:
            u.begin(5000)
            raise AssertionError("no OTAError")
        except OTAError as e:
            assert e.code == 32 and e.detail == "the valve is open " + "x" * 22
        assert _is_discarded(u, 32)


def test_other_callbacks_that_raise_do_no_harm():
    u = _clean()

    def broken(*args):
        raise ValueError("broken")

    called = []
    for event in ("end", "progress", "error"):
        getattr(u.ota, "on_" + event)(broken)
        getattr(u._callbacks, "on_" + event)(lambda *args: called.append(args))
    _send(u)
    u.call("end")
    u.call("error", 1)
    assert load().size_bytes == len(_IMAGE)
    assert called[-2:] == [(), (1,)] and len(called) > 2


# Hardware that fails


class File:
    """A file that behaves as *write* says."""

    def __init__(self, write):
        self.write = write

    def close(self):
        pass


def _write_through(write):
    u = _clean()
    u.begin(len(_IMAGE))
    u.file.close()
    u.file = File(write)
    return u, code_of(u.write, _IMAGE[:1000])


def test_flash_that_does_not_write_is_error_1():
    def raises(data):
        raise OSError(5)

    for write in (raises, lambda data: None, lambda data: len(data) - 1):
        u, code = _write_through(write)
        assert code == 1 and _is_discarded(u, 1) and u.progress == 0


def test_a_staging_file_that_cannot_be_opened_is_error_1():
    u = _clean()
    updater.open = fails
    try:
        assert code_of(u.begin, 5000) == 1
    finally:
        del updater.open
    assert (u.error, u.is_running) == (1, False)


def test_no_memory_is_error_14():
    def raises(data):
        raise MemoryError

    u, code = _write_through(raises)
    assert code == 14 and _is_discarded(u, 14)


def test_what_does_not_read_back_as_written_is_error_3():
    for spoil in (
        lambda data: data[:-1],
        lambda data: data[:-1] + b"\1",
        lambda data: b"m" + data[1:],
        lambda data: b"",
    ):
        u = _clean()
        u.begin(len(_IMAGE))
        u.write(_IMAGE)
        u.file.close()
        with open(STAGING, "wb") as f:
            f.write(spoil(_IMAGE))
        assert code_of(u.end) == 3
        assert _is_discarded(u, 3)


def test_a_staging_file_that_is_gone_is_error_3():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    u.file.close()
    os.remove(STAGING)
    assert code_of(u.end) == 3
    assert _is_discarded(u, 3)


def test_a_record_that_cannot_be_written_is_error_3_and_the_old_one_stands():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    record.os = Os(rename=fails)
    try:
        assert code_of(u.end) == 3
    finally:
        record.os = os
    assert _is_discarded(u, 3)


def test_a_staging_file_that_cannot_be_removed_does_not_hide_the_error():
    u = _clean()
    u.begin(10)
    updater.os = Os(remove=fails)
    try:
        assert code_of(u.write, b"M" * 11) == 4
    finally:
        updater.os = os
    assert u.error == 4 and _exists(STAGING) and not u.is_running
    _send(u)  # which removes it first
    assert load().size_bytes == len(_IMAGE)


# What is checked at the end


def _refused(data, **fields):
    u = _clean(**fields)
    generation = load().generation
    code = code_of(_send, u, data)
    assert load().generation == generation
    if code is not None:
        assert _is_discarded(u, code)
    return code


def test_a_release_below_the_floor_is_error_36():
    assert _refused(image(FILES, 6), floor=7) == 36
    assert _refused(image(FILES, 1), floor=0x3FFFFFFF) == 36


def test_the_release_that_was_taken_back_is_error_35():
    assert _refused(image(FILES, 7), floor=5, rejected=7) == 35


def test_releases_at_the_floor_or_beside_the_rejected_one_are_taken():
    highest = 0x3FFFFFFF
    for sequence, floor, rejected in (
        (7, 7, 0),
        (8, 5, 7),
        (6, 5, 7),
        (highest, highest - 1000000, 0),
        (highest, 0, 0),
    ):
        u = _clean(floor=floor, rejected=rejected)
        _send(u, image(FILES, sequence))
        assert load().sequence == sequence


def test_going_back_takes_the_word_of_the_image_and_the_setting_of_the_board():
    back = image(FILES, 6, b"downgrade yes\n")
    assert _refused(back, floor=7) == 36
    u = _clean(floor=7)
    u.ota.settings["allow_downgrade"] = True
    assert code_of(_send, u, image(FILES, 6)) == 36
    _send(u, back)
    assert (load().sequence, load().floor) == (6, 7)


def _image_with(**replaced):
    # The good image with lines of MANIFEST replaced: key=b"the whole new line or nothing".
    text = sample_image.manifest(FILES)
    for key in replaced:
        line = [line for line in text.split(b"\n") if line.startswith(key.encode())][0]
        text = text.replace(line + b"\n", replaced[key])
    parts = [sample_image.member("MANIFEST", text)]
    return b"".join(parts + [sample_image.member(*file) for file in FILES]) + bytes(1024)


def test_an_image_for_another_board_is_error_41():
    assert _refused(_image_with(board=b"board esp32\n")) == 41
    assert _refused(_image_with(board=b"board ESP8266\n")) == 41
    u = _clean()
    _send(u, _image_with(board=b""))
    assert load().sequence == 7


def test_another_version_of_bytecode_is_error_41():
    for version in (b"6", b"6.2", b"6.30", b"7.3"):
        assert _refused(_image_with(board=b"mpy " + version + b"\n")) == 41, version
    u = _clean()
    _send(u, _image_with(board=b"mpy 6.3\n"))
    assert load().sequence == 7


def test_a_bad_image_ends_in_its_own_error():
    good = [sample_image.member(*file) for file in FILES]
    first = sample_image.member("MANIFEST", sample_image.manifest(FILES))
    end = bytes(1024)
    for code, data in (
        (37, b"M" * 3000),
        (37, _IMAGE[:-512]),
        (38, sample_image.member("MANIFEST", b"mpota 2\n") + end),
        (39, first + sample_image.member("../boot.py", b"x") + end),
        (40, first + good[0] + end),
        (40, _IMAGE.replace(b"pass", b"exit")),
    ):
        assert _refused(data) == code


def test_room_for_the_unpacked_files_is_asked_for_before_the_record_names_the_image():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    slots.os = Os(statvfs=lambda path: (4096, 4096, 763, 3))
    try:
        assert code_of(u.end) == 4
    finally:
        slots.os = os
    assert _is_discarded(u, 4)


def test_an_update_is_told_to_be_running_until_it_ends():
    # While it is, the end of a session must not empty the modules that an application's own needs.
    u = _clean()
    u.begin(len(_IMAGE))
    assert updater.running is u
    u.abort(6)
    assert updater.running is None
    _send(u)
    assert updater.running is None
