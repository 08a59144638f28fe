"""The Updater: what it accepts, what it refuses with which error, its callbacks, and its traces."""

import io
import json
import os
from binascii import hexlify
from struct import calcsize

import fake_clock
import ota
from fake_clock import Clock
from flash_stubs import Os, Watched, fails
from ota import Callbacks, hal, record, slots, updater
from ota.errors import OTAError
from ota.md5 import md5
from ota.record import load
from ota.updater import Updater, signature, verify
from sample_image import (
    LIMIT_BYTES,
    MAPPED_AT,
    SECTOR_BYTES,
    SLOT_BYTES,
    SLOTS,
    clear_slot,
    code_of,
    content_of,
    error_of,
    fill_slot,
    image,
    image_of,
    marks_of,
    runs,
)
from uctypes import addressof
from uhashlib import sha256
from updates import prepare_board, send

_IMAGE = image()
_CHUNK = 1460
_PAGE = 256
_MARKS_AT = SLOT_BYTES - SECTOR_BYTES
_ACCEPTED = b"ACPT" + b"\xff" * 4


class Ota(ota.OTA):
    """An `ota.OTA` that has not begun, with the test's settings."""

    def __init__(self, **settings):
        self.settings = settings


def _clean(**fields):
    # A board that runs slot a, with a version before it in slot b; returns an Updater.
    prepare_board(**fields)
    return Updater(Ota(), Callbacks())


def _send(u, data=_IMAGE, size=None, **options):
    # A whole update in chunks.
    send(u, data, size, **options)


def _md5(data):
    digest = md5()
    digest.update(data)
    return digest.digest()


def _hex(digest):
    return hexlify(digest).decode()


def _is_on_trial(data=_IMAGE, slot="b"):
    r = load()
    assert marks_of(slot) == _ACCEPTED and content_of(slot, len(data)) == data
    assert r.received[slot][1] == len(data)
    return (r.active, r.trial, r.attempts) == ("a" if slot == "b" else "b", slot, 0)


def _is_discarded(u, code):
    # Nothing is left of the update but its error; the record names no trial.
    assert (u.error, u.is_running, u.is_finished) == (code, False, False), (u.error, u.is_running)
    for name in ("buffer", "pages", "md5_state", "expected_md5", "expected_sha256", "signature"):
        assert getattr(u, name) is None, name
    assert u.ota.updater is None
    r = load()
    assert (r.active, r.trial) == ("a", None)
    return True


def _is_unharmed(slot="b"):
    # The version before is still there.
    return slots.is_usable(slot, bytearray(1024)) and slots.manifest_of(slot)["sequence"] == 5


# An update that succeeds


def test_an_update_is_programmed_into_the_idle_slot_and_set_on_trial():
    u = _clean(floor=3, rejected=2)
    generation = load().generation
    u.begin(len(_IMAGE))
    assert u.is_running and not u.is_finished and u.remaining == len(_IMAGE)
    assert len(u.buffer) == _CHUNK and u.ota.updater is u
    for at in range(0, len(_IMAGE), _CHUNK):
        part = _IMAGE[at : at + _CHUNK]
        assert u.write(part) == len(part)
        assert u.progress == at + len(part) == len(_IMAGE) - u.remaining
    assert u.is_finished
    assert load().generation == generation  # the record is not touched before the end
    u.end()
    assert (u.is_running, u.error, u.progress, u.remaining) == (False, 0, len(_IMAGE), 0)
    assert u.ota.updater is None and u.buffer is None
    assert _is_on_trial()
    r = load()
    assert (r.floor, r.rejected, r.is_revert) == (3, 2, False)
    assert r.received["b"] == (7, len(_IMAGE), bytes(16))
    assert r.generation == generation + 1


def test_the_slot_is_the_one_that_is_not_active():
    for active, idle in (("a", "b"), ("b", "a"), (None, "a")):
        u = _clean(active=active)
        fill_slot("a", image(5))
        clear_slot("b") if idle == "a" else None
        other = "b" if idle == "a" else "a"
        before = content_of(other)
        _send(u)
        assert (load().active, load().trial) == (active, idle)
        assert content_of(idle, len(_IMAGE)) == _IMAGE
        assert content_of(other) == before


def test_it_can_be_used_again():
    u = _clean()
    for sequence in (7, 9, 8):
        data = image(sequence)
        _send(u, data)
        assert _is_on_trial(data) and load().received["b"][0] == sequence


def test_a_board_without_a_record_and_an_application_takes_an_update():
    u = _clean()
    os.remove("/.ota/record")
    runs(None)
    _send(u)
    assert (load().active, load().trial) == (None, "a")


def test_where_an_application_runs_and_the_record_is_lost_none_begins():
    # It is not known which slot must be left alone.
    u = _clean()
    os.remove("/.ota/record")
    with Watched() as flash:
        assert "restart the board" in error_of(u.begin, len(_IMAGE))
        assert not flash.of("program", "erase")
    assert u.error == 3


def test_chunks_may_have_any_size():
    for chunk in (1, 7, 512, 1536, 5000):
        u = _clean()
        _send(u, chunk=chunk)
        assert _is_on_trial()
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(memoryview(_IMAGE)[:1000])
    u.write(b"")
    u.write(bytearray(_IMAGE[1000:]))
    u.end()
    assert _is_on_trial()


def test_images_of_every_size_around_a_page_a_gathering_and_a_sector_are_taken():
    for size in (1020, 1024, 1028, 1532, 1536, 1540, 4092, 4096, 4100, 12288, LIMIT_BYTES):
        u = _clean()
        data = image_of(size)
        _send(u, data)
        assert _is_on_trial(data), size
        # The rest of the last page is blank.
        end = size + _PAGE - 1 & ~(_PAGE - 1)
        assert content_of("b", end)[size:] == b"\xff" * (end - size)


def test_the_end_is_done_in_steps():
    u = _clean()
    data = image_of(20000)
    u.begin(len(data))
    u.write(data)
    steps = 0
    for _ in u.ending():
        assert load().trial is None and marks_of("b") == b"\xff" * 8
        steps += 1
    assert steps > 13 and _is_on_trial(data)


def test_an_end_that_is_not_carried_on_can_be_aborted():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    steps = u.ending()
    next(steps)
    steps.close()
    u.abort(6)
    assert _is_discarded(u, 6) and marks_of("b") == b"\xff" * 8


# What is done to the flash, and in which order


def test_the_marks_are_erased_first_and_every_other_sector_just_before_its_first_page():
    for size in (1024, 4096, 9000, 98304, 98308, LIMIT_BYTES):
        u = _clean()
        data = image_of(size)
        with Watched() as flash:
            _send(u, data)
        start = SLOTS["b"]
        done = flash.of("erase", "program")
        # `accepted` is overwritten first, since an erase may be carried out in part.
        assert done[0] == ("program", start + SLOT_BYTES - 8, 4)
        assert done[1] == ("erase", start + _MARKS_AT, SECTOR_BYTES)
        erased = [_MARKS_AT]
        for action, offset, count in done[2:-1]:
            at = offset - start
            assert at >= 0 and at + count <= SLOT_BYTES, (size, at)
            if action == "erase":
                erased.append(at)
            else:
                # Whatever is programmed now lies in sectors that were erased before.
                for sector in range(at // SECTOR_BYTES, (at + count - 1) // SECTOR_BYTES + 1):
                    assert sector * SECTOR_BYTES in erased, (size, at)
        # Each once, no more than are needed, and in the order of the image.
        sectors = (size + SECTOR_BYTES - 1) // SECTOR_BYTES
        needed = [n * SECTOR_BYTES for n in range(sectors) if n * SECTOR_BYTES != _MARKS_AT]
        assert erased == [_MARKS_AT] + needed, size
        assert done[-1] == ("program", start + SLOT_BYTES - 8, 4)


def test_whole_pages_are_programmed_once_each():
    for size in (1024, 5000, 20000, LIMIT_BYTES):
        u = _clean()
        with Watched() as flash:
            _send(u, image_of(size), chunk=997)
        at = SLOTS["b"]
        for _, offset, count in flash.of("program")[1:-1]:  # between two of the mark `accepted`
            assert offset == at and count % _PAGE == 0
            at += count
        assert at - SLOTS["b"] == size + _PAGE - 1 & ~(_PAGE - 1)
        assert at - SLOTS["b"] + 8 <= size * 1.05 or size < 6000


def test_pages_are_programmed_from_aligned_memory_whatever_they_came_from():
    # The simulated chip refuses what the real one cannot do; this is to see it asked.
    seen = []
    real = hal.flash_write

    def write(offset, data):
        at = addressof(data)
        seen.append((at % 4, MAPPED_AT <= at < MAPPED_AT + 0x100000))
        real(offset, data)

    u = _clean()
    shifted = memoryview(bytearray(b"?" + _IMAGE))[1:]
    hal.flash_write = write
    try:
        u.begin(len(_IMAGE))
        for at in range(0, len(_IMAGE), 333):
            u.write(shifted[at : at + 333])
        u.end()
    finally:
        hal.flash_write = real
    assert len(seen) > 2 and set(seen) == {(0, False)}


def test_from_its_first_page_on_the_version_before_counts_as_nothing():
    u = _clean()
    data = image_of(5000)
    u.begin(len(data))
    u.write(data[:1023])
    assert _is_unharmed()
    u.write(data[1023:1024])
    assert not slots.is_accepted("b") and not slots.is_rejected("b")
    u.abort(6)
    assert not slots.is_accepted("b")


def test_power_that_fails_at_any_moment_leaves_no_slot_accepted_that_is_not_whole():
    class Cut(Exception):
        pass

    data = image_of(6000, 9)
    u = _clean()
    with Watched() as flash:
        _send(u, data)
    operations = len(flash.of("erase", "program"))
    for n in range(operations):
        u = _clean()
        left = [n]

        def before(action, offset, count, left=left):
            if action != "read":
                if not left[0]:
                    raise Cut
                left[0] -= 1

        with Watched() as flash:
            flash.before = before
            assert code_of(_send, u, data) in (1, 3), n
        assert load().trial is None
        if slots.is_accepted("b"):
            assert _is_unharmed() and n == 0
    assert operations > 6


# Refused before the first erase


def test_a_head_that_shows_that_it_will_be_refused_costs_the_idle_slot_nothing():
    for data, code in (
        (b"\xe9" + bytes(5000), 10),
        (b"\x1f\x8b" + bytes(5000), 37),
        (b"M" * 5000, 10),
        (b"\xff" * 5000, 10),
        (b"<html>", 10),
        (image(name=b"other"), 44),
        (image(2), 36),
        (image(4), 35),
        (image(2000000), 43),
        (image(text=b"mpota 1\n"), 38),
        (image(more=b"name x\n"), 38),
        (image_of(5000).replace(b"esp8266", b"esp32  "), 38),
    ):
        u = _clean(floor=3, rejected=4)
        fill_slot("a", image(3))
        with Watched() as flash:
            assert code_of(_send, u, data) == code, data[:8]
            assert not flash.of("program", "erase")
        assert _is_unharmed() and _is_discarded(u, code)


def test_so_does_a_size_that_no_slot_takes():
    for size in (LIMIT_BYTES + 1, 1 << 20, 1 << 40):
        u = _clean()
        called = []
        u.ota.on_start(lambda called=called: called.append(1))
        text = error_of(u.begin, size)
        assert text == (
            "ERROR[4]: Not Enough Space: image of %d bytes, a slot takes 102144: "
            "put larger things into /data, and flash firmware over serial" % size
        )
        assert not called and _is_unharmed() and _is_discarded(u, 4)
    u = _clean()
    u.begin(LIMIT_BYTES)
    u.abort(6)


def test_a_small_image_is_judged_by_its_head_at_its_end():
    u = _clean()
    data = image(files=())
    assert len(data) < 1024
    with Watched() as flash:
        u.begin(len(data))
        u.write(data)
        assert not flash.of("program", "erase")
        u.end()
    assert _is_on_trial(data)
    u = _clean()
    assert code_of(_send, u, image(files=(), name=b"M").replace(b"mpota 2", b"mpota 9")) == 38
    assert _is_unharmed()


def test_a_head_that_is_good_accepts_nothing():
    u = _clean()
    data = bytearray(_IMAGE)
    data[-1] ^= 1
    assert code_of(_send, u, bytes(data)) == 37
    assert marks_of("b") == b"\xff" * 8 and _is_discarded(u, 37)


def test_what_is_refused_at_its_end_is_neither_accepted_nor_rejected():
    other = image()[:-40]
    for data, code in ((_IMAGE[:-4], 37), (other, 37), (_IMAGE + b"x" * 9, 37)):
        u = _clean()
        assert code_of(_send, u, data) == code
        assert marks_of("b") == b"\xff" * 8 and _is_discarded(u, code)
        assert load().rejected == 0


# Whether it may begin


def test_a_size_of_nothing_or_less_is_error_5():
    for size in (0, -1):
        u = _clean()
        assert code_of(u.begin, size) == 5
        assert _is_discarded(u, 5)


def test_a_command_that_is_neither_for_applications_nor_for_data_is_error_16():
    for command in (1, 99, 102, 200, -1):
        u = _clean()
        assert error_of(u.begin, 5000, command) == "ERROR[16]: Unknown update command"
        assert _is_discarded(u, 16)


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
    u.ota.window = fake_clock.ticks_add(fake_clock.ticks_ms(), 60000)
    u.ota.gate = lambda: False
    _send(u)
    u.ota.gate = None
    _send(u)


def test_after_the_window_the_gate_decides():
    u = _clean()
    for window in (fake_clock.ticks_add(fake_clock.ticks_ms(), -1), 0):
        u.ota.window = window
        u.ota.gate = None
        assert code_of(u.begin, 5000) == 33
        u.ota.gate = lambda: False
        assert code_of(u.begin, 5000) == 33
        u.ota.gate = lambda: True
        _send(u)


def test_during_a_trial_it_is_error_34():
    called = []
    u = _clean(trial="b")
    u.ota.trial = True
    u.ota.on_start(lambda: called.append(1))
    generation = load().generation
    with Watched() as flash:
        assert code_of(u.begin, 5000) == 34
        assert not flash.of("program", "erase")
    assert not called and load().generation == generation and load().trial == "b"


def test_a_version_that_waits_for_its_trial_is_forgotten_before_the_first_erase():
    u = _clean()
    _send(u, image(9))
    assert load().trial == "b"
    seen = []
    with Watched() as flash:
        flash.before = lambda *operation: seen.append((operation[0], load().trial))
        u.begin(len(_IMAGE))
        assert load().trial is None and load().rejected == 0
        u.write(_IMAGE)
        assert ("erase", None) in seen and ("erase", "b") not in seen
        u.end()
    assert _is_on_trial()


def test_a_refused_update_leaves_the_version_that_waits_for_its_trial():
    u = _clean()
    _send(u)

    def veto():
        raise RuntimeError("not now")

    u.ota.on_start(veto)
    assert code_of(u.begin, 5000) == 32
    assert code_of(u.begin, 0) == 5
    assert code_of(u.begin, 5000, 99) == 16
    assert code_of(u.begin, 5000, 100) == 32
    assert _is_on_trial()


class Gc:
    """A `gc` that reports *free* bytes as free."""

    def __init__(self, free):
        self._free = free

    def collect(self):
        pass

    def mem_free(self):
        return self._free


def test_too_little_memory_is_said_at_the_beginning():
    words = calcsize("P")
    for free, code in ((375 * words - 1, 14), (375 * words, None)):
        u = _clean()
        called = []
        u.ota.on_start(lambda called=called: called.append(1))
        real = updater.gc
        updater.gc = Gc(free)
        try:
            assert code_of(u.begin, 5000) == code
        finally:
            updater.gc = real
        assert len(called) == (code is None)
        u.abort(6)


def test_all_that_an_update_needs_is_held_before_the_application_is_asked():
    held = []
    u = _clean()
    u.set_md5("0" * 32)
    u.ota.on_start(lambda: held.append((u.buffer, u.pages, u.md5_state, u._checks)))
    u.begin(5000)
    buffer, pages, md5_state, checks = held[0]
    assert u.buffer is buffer and u.pages is pages and u.md5_state is md5_state
    assert (len(buffer), len(pages), checks) == (_CHUNK, 1024, verify)
    assert addressof(pages) % 4 == 0
    u.abort(6)


# begin, write, end, abort


def test_a_second_begin_is_error_15_and_does_the_running_one_no_harm():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE[:1000])
    assert code_of(u.begin, 5000) == 15
    assert (u.is_running, u.error, u.progress) == (True, 0, 1000)
    u.write(_IMAGE[1000:])
    u.end()
    assert _is_on_trial()


def test_while_one_runs_another_updater_s_begin_is_error_15():
    u = _clean()
    other = Updater(u.ota, Callbacks())
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    end = u.ending()
    next(end)
    assert code_of(other.begin, 5000) == 15
    other.abort(6)
    assert u.ota.updater is u
    for _ in end:
        pass
    assert _is_on_trial()
    other.begin(5000)
    other.abort(6)
    assert u.ota.updater is None


def test_a_write_past_the_size_is_error_4_and_takes_nothing():
    u = _clean()
    u.begin(1000)
    u.write(_IMAGE[:600])
    assert code_of(u.write, _IMAGE[600:1001]) == 4
    assert u.progress == 600
    assert _is_discarded(u, 4) and _is_unharmed()


def test_an_end_before_all_bytes_is_error_37():
    u = _clean()
    u.begin(len(_IMAGE) + 1)
    u.write(_IMAGE)
    assert error_of(u.end) == "ERROR[37]: Image is truncated or damaged: 1 bytes missing"
    assert _is_discarded(u, 37) and not slots.is_accepted("b")


def test_even_if_remaining_makes_what_was_received_the_size():
    u = _clean()
    _send(u, size=100000, even_if_remaining=True)
    assert _is_on_trial() and u.remaining == 0


def test_even_if_remaining_takes_no_half_image():
    for cut in (4, 40, 500):
        u = _clean()
        assert code_of(_send, u, _IMAGE[:-cut], 100000, even_if_remaining=True) == 37
        assert _is_discarded(u, 37)


def test_no_data_at_all_is_error_13():
    for even_if_remaining in (False, True):
        u = _clean()
        u.begin(5000)
        assert code_of(u.end, even_if_remaining) == 13
        assert _is_discarded(u, 13) and _is_unharmed()


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
    assert _is_on_trial() and u.error == 0


def test_abort_discards_and_keeps_the_reason():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE[:2000])
    u.abort(6)
    assert _is_discarded(u, 6)
    u.abort(4)
    assert u.error == 6


def test_a_file_that_cannot_be_closed_leaves_no_update_running():
    class File:
        def close(self):
            raise OSError(5)

    u = Updater(Ota())
    u.begin(1000)
    u.file = File()
    u.abort(6)
    assert not u.is_running and u.ota.updater is None and u.file is None


def test_abort_after_success_does_nothing():
    u = _clean()
    _send(u)
    u.abort(6)
    assert u.error == 0 and _is_on_trial()


# What goes on after it was broken off


def _break_off(data, at, **fields):
    # An update of *data* that has come as far as *at*; returns an Updater for the rest.
    u = _clean(**fields)
    u.begin(len(data))
    u.write(data[:at])
    u.abort(6)
    return Updater(Ota(), Callbacks())


def test_an_update_goes_on_at_a_sector_and_what_is_before_stays_as_it_is():
    data = image_of(30000)
    for resume_at in (4096, 16384, 28672):
        u = _break_off(data, 30000)
        with Watched() as flash:
            u.begin(len(data), 0, resume_at)
            assert (u.progress, u.remaining) == (resume_at, 30000 - resume_at)
            for at in range(resume_at, 30000, _CHUNK):
                u.write(data[at : at + _CHUNK])
            u.end()
        done = flash.of("erase", "program")
        start = SLOTS["b"]
        assert done[0] == ("erase", start + _MARKS_AT, SECTOR_BYTES)
        assert done[1][1] == done[2][1] == start + resume_at
        for _, offset, _ in done[1:]:
            assert offset >= start + resume_at
        assert _is_on_trial(data)


def test_it_is_known_how_much_is_in_the_slot():
    data = image_of(30000)
    u = _clean()
    u.begin(len(data))
    for at in range(0, 29000, 1000):
        u.write(data[at : at + 1000])
        assert u.progress - 1536 < u.programmed <= u.progress
        assert content_of("b", u.programmed) == data[: u.programmed]
    u.abort(6)


def test_the_last_sector_with_the_marks_can_be_what_is_missing():
    data = image_of(LIMIT_BYTES)
    u = _break_off(data, LIMIT_BYTES)
    u.begin(len(data), 0, _MARKS_AT)
    u.write(data[_MARKS_AT:])
    u.end()
    assert _is_on_trial(data)


def test_where_another_update_was_in_between_the_whole_is_not_taken():
    data = image_of(30000)
    u = _break_off(data, 20000)
    fill_slot("b", image_of(30000, 8))  # accepted by now
    u.begin(len(data), 0, 16384)
    assert marks_of("b") == b"\xff" * 8
    u.write(data[16384:])
    assert "ERROR[37]" in error_of(u.end)
    assert _is_discarded(u, 37)


def test_what_is_in_the_slot_is_judged_before_the_application_is_asked():
    data = image_of(30000)
    for fields, code in (({"floor": 8}, 36), ({"rejected": 7}, 35)):
        u = _break_off(data, 20000)
        r = load()
        for name in fields:
            setattr(r, name, fields[name])
        r.store()
        asked = []
        u.ota.on_start(lambda asked=asked: asked.append(1))
        with Watched() as flash:
            assert "ERROR[%d]" % code in error_of(u.begin, len(data), 0, 16384)
        assert not asked and not flash.of("erase", "program")


def test_only_a_sector_s_boundary_within_the_image_will_do():
    for resume_at in (1000, 4095, 28672 + 4096):
        u = _break_off(image_of(30000), 20000)
        assert "ERROR[5]" in error_of(u.begin, 30000, 0, resume_at)


# Digests


def test_the_right_md5_in_either_case_is_taken_and_recorded():
    digest = _md5(_IMAGE)
    for text in (_hex(digest), _hex(digest).upper()):
        u = _clean()
        u.set_md5(text)
        _send(u)
        assert load().received["b"] == (7, len(_IMAGE), digest)


def test_another_md5_is_error_7_with_both():
    u = _clean()
    u.set_md5("0" * 32)
    assert error_of(_send, u) == (
        "ERROR[7]: MD5 verification failed: expected: %s, calculated: %s"
        % ("0" * 32, _hex(_md5(_IMAGE)))
    )
    assert _is_discarded(u, 7) and not slots.is_accepted("b")


def test_a_digest_can_be_given_after_begin_as_in_arduino():
    for right in (True, False):
        u = _clean()
        u.begin(len(_IMAGE))
        u.set_md5(_hex(_md5(_IMAGE)) if right else "0" * 32)
        u.write(_IMAGE)
        assert code_of(u.end) == (None if right else 7)
        u = _clean()
        u.begin(len(_IMAGE))
        u.set_sha256(_hex(sha256(_IMAGE).digest()) if right else "0" * 64)
        u.write(_IMAGE)
        assert code_of(u.end) == (None if right else 42)


def test_the_sha256_is_compared_and_then_no_md5():
    right, wrong = _hex(sha256(_IMAGE).digest()), "0" * 64
    for text, code in ((right, None), (right.upper(), None), (wrong, 42)):
        u = _clean()
        u.set_md5("0" * 32)
        u.set_sha256(text)
        assert code_of(_send, u) == code


def test_what_is_no_digest_is_refused():
    u = _clean()
    for digest in ("", "0" * 31, "0" * 33, "g" + "0" * 31, "ü" + "0" * 31, " " * 32):
        assert code_of(u.set_md5, digest) == 7, digest
    for digest in ("", "0" * 32, "0" * 63, "0" * 65, "0" * 63 + "x"):
        assert code_of(u.set_sha256, digest) == 42, digest
    _send(u)
    assert _is_on_trial()


def test_an_update_does_not_use_the_digests_of_the_one_before():
    u = _clean()
    u.set_md5("0" * 32)
    u.set_sha256("0" * 64)
    u.begin(len(_IMAGE))
    u.abort(6)
    _send(u)
    assert _is_on_trial()


# Keys


def _signed(bits):
    with open("/vectors/signed-%d.img" % bits, "rb") as f:
        return f.read(10000)


def _pem(bits):
    with open("/vectors/signature.json") as f:
        good = [case for case in json.load(f) if case["good"]]
    return [case for case in good if len(case["signature"]) == bits // 4][0]["pem"].encode()


def _set_keys(content):
    with open(signature.KEYS, "wb") as f:
        f.write(content)


def test_keys_on_the_board_take_what_they_signed_and_nothing_else():
    for bits in (2048, 4096):
        data, pem = _signed(bits), _pem(bits)
        plain = data[: len(data) - bits // 8 - 4]
        swapped = bytearray(data)
        swapped[-5] ^= 1
        for content, sent, code in (
            (pem, data, None),
            (pem, plain, 12),
            (pem, bytes(swapped), 12),
            (pem, _IMAGE, 12),
            (pem, data[:-1], 12),
            (pem, plain + bytes(bits // 8) + data[-4:], 12),
            (_pem(1024), data, 12),
        ):
            u = _clean()
            _set_keys(content)
            assert code_of(_send, u, sent) == code, (bits, code)
            assert slots.is_accepted("b") == (code is None)
            assert code is None or _is_discarded(u, code)


def test_a_board_without_keys_takes_a_signed_image():
    u = _clean()
    _send(u, _signed(2048))
    assert _is_on_trial(_signed(2048))


def test_keys_that_the_program_gives_go_before_those_of_the_board():
    for on_board, given, code in (
        (None, 2048, None),
        (None, 4096, 12),
        (4096, 2048, None),
        (2048, 4096, 12),
        (2048, None, None),
    ):
        u = _clean()
        if on_board:
            _set_keys(_pem(on_board))
        u.keys = _pem(given) if given else None
        assert code_of(_send, u, _signed(2048)) == code, (on_board, given)
    u = _clean()
    u.keys = _pem(2048)
    assert code_of(_send, u, _IMAGE) == 12


def test_keys_that_are_broken_end_an_update_at_its_beginning_whoever_gives_them():
    for content in (b"", b"garbage", _pem(2048)[:-30]):
        for on_board in (True, False):
            u = _clean()
            called = []
            u.ota.on_start(lambda called=called: called.append(1))
            if on_board:
                _set_keys(content)
            else:
                _set_keys(_pem(2048))  # which those of the program go before
                u.keys = content
            assert code_of(u.begin, 5000) == 12, (content[:10], on_board)
            assert not called and _is_discarded(u, 12)


def test_where_a_signature_is_needed_no_md5_is_asked():
    u = _clean()
    _set_keys(_pem(2048))
    u.set_md5("0" * 32)
    _send(u, _signed(2048))
    assert load().received["b"][2] == bytes(16)  # the announced one, right or wrong


def test_longer_keys_get_a_larger_block():
    for bits, block_bytes in ((2048, 3000), (4096, 5200)):
        u = _clean()
        _set_keys(_pem(bits))
        u.begin(5000)
        assert u.trusted == signature.KEYS
        u.abort(6)
        assert u.buffer is None
        assert block_bytes > _CHUNK + 1024


# From a stream


class Stream:
    """Returns *parts* one by one; None stands for: nothing has come yet."""

    def __init__(self, parts, clock=None):
        self._parts = list(parts)
        self._clock = clock

    def readinto(self, buffer):
        if self._clock:
            self._clock.wait(1000)
        part = self._parts.pop(0) if self._parts else b""
        if part is None:
            return None
        assert len(part) <= len(buffer)
        buffer[: len(part)] = part
        return len(part)


def _parts(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_a_stream_gives_what_was_announced_and_no_more():
    for data, size in ((_IMAGE, None), (_IMAGE + b"and more", len(_IMAGE))):
        u = _clean()
        u.begin(size or len(data))
        stream = io.BytesIO(data)
        assert u.write_stream(stream) == len(_IMAGE)
        assert stream.read(20) == data[len(_IMAGE) :]
        assert u.is_finished
        u.end()
        assert _is_on_trial()


def test_a_stream_may_give_little_at_a_time_and_nothing_in_between():
    u = _clean()
    u.begin(len(_IMAGE))
    parts = []
    for part in _parts(_IMAGE, 700):
        parts += [None, part, None]
    assert u.write_stream(Stream(parts)) == len(_IMAGE)
    u.end()
    assert _is_on_trial()


def test_a_stream_that_ends_early_leaves_the_rest_to_another():
    u = _clean()
    u.begin(len(_IMAGE))
    assert u.write_stream(io.BytesIO(_IMAGE[:1000])) == 1000
    assert (u.is_running, u.remaining) == (True, len(_IMAGE) - 1000)
    assert u.write_stream(io.BytesIO(_IMAGE[1000:])) == len(_IMAGE) - 1000
    u.end()
    assert _is_on_trial()


def test_six_seconds_without_data_are_error_6():
    with Clock() as clock:
        u = _clean()
        u.begin(len(_IMAGE))
        # As long as each pause is shorter it goes on.
        parts = [_IMAGE[:100]] + [None] * 5 + [_IMAGE[100:200]] + [None] * 5 + [_IMAGE[200:300]]
        begun = clock.now
        assert code_of(u.write_stream, Stream(parts + [None] * 100, clock)) == 6
        assert clock.now - begun == 1000 * (len(parts) + 6)
        assert _is_discarded(u, 6)


def test_a_stream_is_written_in_steps():
    u = _clean()
    u.begin(len(_IMAGE))
    seen = [u.progress for _ in u.writing_stream(Stream(_parts(_IMAGE, 500)))]
    assert seen == [min(500 * n, len(_IMAGE)) for n in range(1, len(seen) + 1)]
    u.end()
    assert _is_on_trial()


def test_a_stream_that_fails_is_an_error_of_the_update():
    class Broken:
        def readinto(self, buffer):
            raise OSError(104)

    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE[:100])
    assert code_of(u.write_stream, Broken()) == 6
    assert _is_discarded(u, 6)


def test_without_an_update_a_stream_is_not_read():
    u = _clean()
    stream = io.BytesIO(_IMAGE)
    assert code_of(u.write_stream, stream) == 13
    assert stream.tell() == 0


# Whom it tells


def _recording(u, *events):
    # Returns the list of what is called, in order.
    calls = []
    for name, callbacks in (("ota", u.ota), ("service", u.callbacks)):
        for event in events:
            register = getattr(callbacks, "on_" + event)
            register(lambda *args, who=name, what=event: calls.append((who, what) + args))
    return calls


def test_start_comes_before_the_first_byte_and_progress_after_every_write():
    u = _clean()
    calls = _recording(u, "start", "end", "progress", "error")
    size = len(_IMAGE)
    with Watched() as flash:
        u.begin(size)
        assert not flash.of("program", "erase")
    assert calls == [("ota", "start"), ("service", "start")]
    del calls[:]
    u.write(_IMAGE[:600])
    u.write(_IMAGE[600:])
    u.end()
    assert calls == [
        ("ota", "progress", 600, size),
        ("service", "progress", 600, size),
        ("ota", "progress", size, size),
        ("service", "progress", size, size),
    ]  # "end" and "error" are for the transport to call, with its own number


def test_without_a_service_the_updater_tells_the_application_how_it_ended():
    for data, calls in (
        (_IMAGE, [("start",), ("end",)]),
        (_IMAGE[:-4], [("start",), ("error", 37)]),
        (b"\xe9" * 3000, [("start",), ("error", 10)]),
        (b"x" * (LIMIT_BYTES + 1), []),  # it never began
    ):
        u = _clean()
        own = Updater(u.ota)
        seen = []
        for event in ("start", "end", "error"):
            register = getattr(u.ota, "on_" + event)
            register(lambda *args, what=event, seen=seen: seen.append((what,) + args))
        code_of(_send, own, data)
        assert seen == calls, (data[:4], seen)
        # Each is told once.
        own.abort(6)
        assert seen == calls


def test_an_on_start_that_raises_is_error_32_with_its_words():
    for callbacks in ("ota", "callbacks"):
        u = _clean()

        def veto():
            raise RuntimeError("the valve is open " + "x" * 100)

        getattr(u, callbacks).on_start(veto)
        try:
            u.begin(5000)
            raise AssertionError("no OTAError")
        except OTAError as e:
            assert e.code == 32 and e.detail == "the valve is open " + "x" * 22
        assert _is_discarded(u, 32) and _is_unharmed()


def test_an_on_progress_that_raises_does_no_harm():
    def broken(*args):
        raise ValueError("broken")

    u = _clean()
    called = []
    u.ota.on_progress(broken)
    u.callbacks.on_progress(lambda *args: called.append(args))
    _send(u)
    assert _is_on_trial() and len(called) > 1


# Hardware that fails


def _with_flash_that_fails(at_action, function):
    u = _clean()
    u.begin(len(_IMAGE))

    def before(action, *_):
        if action == at_action:
            raise OSError(5)

    with Watched() as flash:
        flash.before = before
        return u, function(u)


def test_flash_that_does_not_program_is_error_1_and_that_does_not_erase_error_2():
    for action, code in (("program", 1), ("erase", 2)):
        u, found = _with_flash_that_fails(action, lambda u: code_of(u.write, _IMAGE))
        assert found == code and _is_discarded(u, code)
        assert _is_unharmed() == (action == "program")  # which is the first to be asked


def test_flash_that_does_not_read_is_error_3():
    def end(u):
        u.write(_IMAGE)
        return code_of(u.end)

    u = _clean(active=None)
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    with Watched() as flash:
        flash.before = fails
        assert code_of(u.end) == 3
    assert (u.error, u.is_running, load().trial) == (3, False, None)


def test_a_mark_that_does_not_read_back_is_error_3_and_no_trial():
    u = _clean()

    def spoil(offset, buffer):
        if offset >= SLOTS["b"] + SLOT_BYTES - 8:
            buffer[0] = 0

    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    with Watched() as flash:
        flash.spoil = spoil
        assert code_of(u.end) == 3
    assert _is_discarded(u, 3)


def test_a_record_that_cannot_be_written_is_an_error_and_no_trial():
    u = _clean()
    u.begin(len(_IMAGE))
    u.write(_IMAGE)
    record.uos = Os(rename=fails)
    try:
        assert code_of(u.end) == 3
    finally:
        record.uos = os
    assert _is_discarded(u, 3)


def test_no_memory_on_the_way_is_error_14():
    u = _clean()
    u.begin(len(_IMAGE))

    def before(*_):
        raise MemoryError

    with Watched() as flash:
        flash.before = before
        assert code_of(u.write, _IMAGE) == 14
    assert _is_discarded(u, 14)
