"""The boot decision, with records and slots made by hand: which slot runs, and how they change."""

import json
import os
import sys

import machine
import sample_image
import vfs
from esp import flash_read
from flash_stubs import Os, Watched, fails
from ota import boot, exchange, hal, record, slots
from ota.record import Record, load
from sample_image import (
    FILES,
    MAPPED_AT,
    RTC_STATE,
    SLOTS,
    clear_slot,
    empty_board,
    file,
    fill_slot,
    folder,
    image,
    manifest,
    marks_of,
    romfs,
    with_footer,
)

_PATH = list(sys.path)
_ACCEPTED = b"ACPT" + b"\xff" * 4
_REJECTED = b"ACPTRJCT"

# The map shows what was there when the board was switched on.
slots.bytearray_at = lambda at, count: bytearray(flash_read(at - MAPPED_AT, count))


def _clean(a=None, b=None, **fields):
    # Leaves a board as after a power cut, with images in its slots and a record with *fields*.
    _forget()
    empty_board()
    for slot, data in (("a", a), ("b", b)):
        if data:
            fill_slot(slot, data)
    if fields:
        r = Record()
        for name in fields:
            setattr(r, name, fields[name])
        r.store()


def _forget():
    # What a reset does to an interpreter.
    sys.path[:] = _PATH
    if "app" in os.listdir("/"):
        vfs.umount("/app")


def _decide():
    # Returns what this boot runs: a slot, in upper case on trial, or "-".
    _forget()
    boot.decide()
    boots, what = hal.get_state()
    assert ("app" in os.listdir("/")) == (what in "abAB")
    assert ("/app" in sys.path) == (what in "abAB")
    return what


def _boots():
    return hal.get_state()[0]


def _mounted():
    # The sequence of the application that is mounted.
    with open("/app/MANIFEST", "rb") as f:
        return int(f.read(500).split(b"sequence ")[1].split(b"\n")[0])


def _on_trial(**fields):
    # A board that runs release 7 in slot a and has release 8 on trial in slot b.
    settings = {"active": "a", "trial": "b", "floor": 7}
    settings["received"] = {"a": (7, 100, b""), "b": (8, 100, b"")}
    settings.update(fields)
    _clean(image(7), image(8), **settings)


# No record


def test_an_empty_board_runs_no_application():
    _clean()
    assert _decide() == "-"
    assert load() is None


def test_without_a_record_the_usable_slot_with_the_higher_sequence_runs_and_is_recorded():
    for a, b, chosen in ((7, 8, "b"), (8, 7, "a"), (7, 7, "a"), (7, 0, "a"), (0, 7, "b")):
        _clean(a and image(a), b and image(b))
        assert _decide() == chosen
        assert _mounted() == max(a, b)
        r = load()
        assert (r.active, r.trial, r.floor, r.rejected) == (chosen, None, max(a, b), 0)
        assert r.received[chosen] == (max(a, b), 0, bytes(16))
        assert r.generation == 1


def test_without_a_record_no_slot_runs_that_is_not_whole_or_not_accepted_or_rejected():
    good, newer = image(7), image(8)
    for data, accepted, rejected in (
        (newer, False, False),
        (newer, True, True),
        (newer[:-4], True, False),
        (newer[:100] + b"?" + newer[101:], True, False),
    ):
        for bad, other in (("a", "b"), ("b", "a")):
            _clean(good, good)
            fill_slot(bad, data, accepted, rejected)
            assert _decide() == other
            assert (load().active, load().floor) == (other, 7)
            clear_slot(other)
            os.remove("/.ota/record")
            assert _decide() == "-"
            assert load() is None


def test_a_damaged_record_is_as_none_at_all():
    _clean(image(7), image(8), active="a", floor=9)
    with open("/.ota/record", "r+b") as f:
        f.write(b"MPBS")
    assert _decide() == "b"
    assert (load().active, load().floor) == ("b", 8)


def test_a_record_new_is_not_looked_at():
    _clean(active="b")
    os.rename("/.ota/record", "/.ota/record.new")
    assert _decide() == "-"


def test_with_both_slots_damaged_the_services_run_and_the_record_stays():
    for active in ("a", "b"):
        _clean(active=active, floor=9)
        generation = load().generation
        assert _decide() == "-"
        assert load().generation == generation


# An active slot


def test_the_active_slot_runs_and_nothing_is_written():
    for active, sequence in (("a", 7), ("b", 6)):
        _clean(image(7), image(6), active=active, floor=7)
        generation = load().generation
        with Watched() as flash:
            assert _decide() == active
        assert not flash.of("program", "erase") and load().generation == generation
        assert _mounted() == sequence
        # Its image is not read for that: only its marks are looked at.
        assert sum([count for _, _, count in flash.of("read")]) <= 16


def test_a_board_that_has_no_version_yet_runs_none():
    _clean(image(7), image(8), active=None)
    assert _decide() == "-"


def test_an_active_slot_that_is_not_accepted_or_cannot_be_mounted_does_not_run():
    for accepted, rejected in ((False, False), (True, True)):
        _clean(active="a")
        fill_slot("a", image(7), accepted, rejected)
        assert _decide() == "-"
    _clean(active="a")
    fill_slot("a", b"no ROMFS")
    assert _decide() == "-"


def test_the_slot_is_looked_for_after_what_the_services_need_and_before_all_else():
    _clean(image(7), active="a")
    _decide()
    assert sys.path == _PATH[:2] + ["/app", "/app/lib"] + _PATH[2:]


def test_a_release_that_brings_the_package_runs_with_its_own_copy():
    brings = with_footer(
        romfs(
            file("MANIFEST", manifest(9)),
            folder(".ota", folder("ota", file("__init__.mpy", b"M\x06"))),
            file("app.mpy", b"M\x06"),
        )
    )
    modules = dict(sys.modules)
    _clean(brings, active="a")
    try:
        assert _decide() == "a"
        assert sys.path[0] == "/app/.ota" and sys.path[1:3] == _PATH[:2]
        assert not [name for name in sys.modules if name == "ota" or name.startswith("ota.")]
    finally:
        sys.modules.update(modules)
    _clean(image(7), active="a")
    _decide()
    assert "/app/.ota" not in sys.path and "ota.boot" in sys.modules


def test_ten_boots_that_never_were_healthy_lead_to_safe_mode_and_one_more_try():
    _clean(image(7), active="a")
    for boots in range(1, 11):
        assert _decide() == "a"
        assert _boots() == boots
    for _ in range(3):
        assert _decide() == hal.SAFE
        assert _boots() == 9
        assert _decide() == "a"
        assert _boots() == 10
    hal.set_state(0, "a")  # a healthy boot
    assert _decide() == "a"


def test_a_power_cut_forgets_the_boots():
    _clean(image(7), active="a")
    for garbage in (0, 0xFFFFFFFF, 0xA5A5A5A5, 0x4D310A61, 0x0A0A4D32):
        machine.mem32[RTC_STATE] = garbage
        assert _decide() == "a"
        assert hal.get_state() == (1, "a")


def test_a_wake_from_deep_sleep_is_not_counted():
    _clean(image(7), active="a")
    hal.set_state(4, "a")
    real = machine.reset_cause
    machine.reset_cause = lambda: machine.DEEPSLEEP_RESET
    try:
        for _ in range(20):
            assert _decide() == "a"
        assert _boots() == 4
    finally:
        machine.reset_cause = real
    assert _decide() == "a"
    assert _boots() == 5


# A trial


def test_a_trial_has_three_boots_each_counted_before_it_runs():
    _on_trial()
    for attempts in (1, 2, 3):
        assert _decide() == "B"
        assert _mounted() == 8
        assert (load().attempts, load().trial, load().active) == (attempts, "b", "a")
    assert _decide() == "a"
    assert _mounted() == 7
    r = load()
    assert (r.active, r.trial, r.attempts, r.rejected, r.floor) == ("a", None, 3, 8, 7)
    assert r.outcome == "taken back: 8: not confirmed in 3 boots"
    assert marks_of("b") == _REJECTED and marks_of("a") == _ACCEPTED
    assert _decide() == "a"


def test_the_attempt_is_counted_and_read_back_before_the_slot_is_mounted():
    _on_trial()
    seen = []
    mount = slots.mount

    def note(slot):
        seen.append((slot, load().attempts))
        mount(slot)

    slots.mount = note
    try:
        _decide()
    finally:
        slots.mount = mount
    assert seen == [("b", 1)]


def test_a_boot_on_trial_reads_its_slot_once_and_writes_one_record():
    _on_trial()
    generation = load().generation
    with Watched() as flash:
        _decide()
    assert not flash.of("program", "erase") and load().generation == generation + 1
    read = sum([count for _, offset, count in flash.of("read") if offset >= SLOTS["b"]])
    assert read <= len(image(8)) + 200


def test_attempts_decide_whatever_they_are():
    for attempts in (0, 1, 2, 3, 4, 255):
        _on_trial(attempts=attempts)
        assert _decide() == ("B" if attempts < 3 else "a")
        assert load().rejected == (0 if attempts < 3 else 8)


def test_a_trial_without_a_version_before_it_ends_in_none():
    _clean(image(1), trial="a", attempts=3, received={"a": (1, 9, b""), "b": (0, 0, b"")})
    assert _decide() == "-"
    assert (load().active, load().rejected) == (None, 1)
    # Nor is it run when the record is lost after that.
    os.remove("/.ota/record")
    assert _decide() == "-"


def test_a_trial_does_not_count_as_an_unhealthy_boot_nor_is_it_kept_from_running_by_those():
    _on_trial()
    hal.set_state(10, "a")
    assert _decide() == "B"
    assert _boots() == 10


def test_a_slot_that_is_not_whole_is_not_tried_and_not_rejected():
    data = image(8)
    for content in (data[:-4], data[:50] + b"?" + data[51:], b"", b"\xd2\xcd\x31\x05 cut"):
        for attempts in (0, 2):
            _on_trial(attempts=attempts, rejected=3)
            fill_slot("b", content)
            assert _decide() == "a"
            r = load()
            assert (r.trial, r.attempts, r.rejected, r.floor) == (None, attempts, 3, 7)
            assert r.outcome.startswith("failed: ") and marks_of("b") == _ACCEPTED


def test_a_slot_that_was_not_accepted_is_not_tried():
    _on_trial()
    fill_slot("b", image(8), accepted=False)
    assert _decide() == "a"
    assert (load().trial, load().rejected) == (None, 0)


def test_a_slot_that_was_rejected_is_taken_back_where_the_record_does_not_say_so_yet():
    _on_trial(attempts=1)
    fill_slot("b", image(8), rejected=True)
    assert _decide() == "a"
    assert (load().trial, load().rejected) == (None, 8)


def test_a_trial_whose_application_hung_is_told_so():
    _on_trial(attempts=3)
    hal.set_state(0, hal.HUNG)
    assert _decide() == "a"
    assert "hung" in load().outcome


def test_after_a_trial_that_ended_the_active_slot_must_be_good_as_ever():
    _on_trial(attempts=3)
    fill_slot("a", image(7), accepted=False)
    assert _decide() == "-"
    assert load().rejected == 8


def test_a_slot_that_cannot_be_mounted_costs_its_attempts_and_no_more():
    _on_trial()
    mount = slots.mount

    def mounts_a(slot):
        if slot == "b":
            raise OSError(19)
        mount(slot)

    slots.mount = mounts_a
    try:
        for attempts in (1, 2, 3):
            _forget()
            boot.decide()
            assert hal.get_state()[1] == "-" and load().attempts == attempts
        _forget()
        boot.decide()
    finally:
        slots.mount = mount
    assert hal.get_state()[1] == "a" and load().rejected == 8


# New data on trial


def _text(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return None


def _with_data(trial, **fields):
    # The same board, with new data for the release *trial* or, where that is "a", alone.
    _on_trial(trial=trial, data=1, **fields)
    exchange.remove("/data")
    exchange.remove_rest()
    os.mkdir("/.ota/data")
    for folder_name, text in (("/data", "old"), ("/.ota/data/new", "new")):
        os.mkdir(folder_name)
        with open(folder_name + "/text", "w") as f:
            f.write(text)


def test_new_data_are_there_when_their_trial_begins_and_no_more_when_it_has_ended():
    for trial in ("a", "b"):
        _with_data(trial)
        for attempts in (1, 2, 3):
            assert _decide() == trial.upper()
            assert _text("/data/text") == "new" and _text("/.ota/data/old/text") == "old"
            assert load().attempts == attempts
        assert _decide() == "a"
        r = load()
        assert (r.active, r.trial, r.data) == ("a", None, 0)
        assert r.outcome.startswith("taken back: %s: not" % ("data" if trial == "a" else 8))
        assert (r.rejected, marks_of("a")) == (0 if trial == "a" else 8, _ACCEPTED)
        assert _text("/data/text") == "old" and _text("/.ota/data/old/text") is None
        generation = r.generation
        assert _decide() == "a" and load().generation == generation


def test_a_trial_that_is_given_up_without_a_boot_takes_its_data_back():
    _with_data("b")
    fill_slot("b", b"not whole")
    assert _decide() == "a"
    assert (load().trial, load().data, _text("/data/text")) == (None, 0, "old")


def test_the_attempt_is_counted_before_the_data_are_exchanged():
    _with_data("a")
    exchange.uos = Os(rename=fails)
    try:
        for attempts in (1, 2, 3):
            assert _decide() == "-"  # no application with data that are not its own
            assert load().attempts == attempts
    finally:
        exchange.uos = os
    assert _decide() == "a" and _text("/data/text") == "old"


def test_data_that_cannot_be_taken_back_meet_no_application_until_they_are():
    _with_data("a")
    assert _decide() == "A"
    load().reject("x")
    exchange.uos = Os(rename=fails)
    try:
        for _ in range(2):
            assert _decide() == "-"
            assert load().data == 2
    finally:
        exchange.uos = os
    assert _decide() == "a" and _text("/data/text") == "old" and load().data == 0


def test_data_are_taken_back_though_the_record_cannot_be_written():
    _with_data("a")
    assert _decide() == "A"
    load().reject("x")
    assert _failing(_decide) == "a" and _text("/data/text") == "old"
    assert load().data == 2
    assert _decide() == "a" and _text("/data/text") == "old" and load().data == 0


def test_another_release_is_tried_after_the_data_were_taken_back():
    _with_data("b")
    assert _decide() == "B" and _text("/data/text") == "new"
    r = load()
    r.data = 2
    r.store()
    assert _decide() == "B" and _text("/data/text") == "old" and load().data == 0


def test_without_a_record_there_are_data_all_the_same():
    _with_data("b")
    os.rename("/data", "/.ota/data/old")
    os.remove("/.ota/record")
    assert _decide() == "b"
    assert _text("/data/text") == "old"


# Going back


def test_a_way_back_is_a_trial_like_any_other():
    _clean(
        image(7), image(8), active="b", trial="a", is_revert=True, floor=8,
        received={"a": (7, 1, b""), "b": (8, 1, b"")},
    )  # fmt: skip
    for _ in range(3):
        assert _decide() == "A"
        assert _mounted() == 7 and load().is_revert
    assert _decide() == "b"
    assert (load().rejected, load().is_revert, load().floor) == (7, False, 8)
    assert marks_of("a") == _REJECTED


# The services alone


def test_the_services_run_alone_for_one_boot_where_that_was_asked_for():
    _clean(image(7), active="a")
    hal.set_state(4, hal.ASKED)
    generation = load().generation
    assert _decide() == hal.ALONE
    assert _boots() == 4 and load().generation == generation
    assert _decide() == "a"
    assert _boots() == 5


def test_that_is_no_attempt_of_a_trial():
    _on_trial()
    hal.set_state(0, hal.ASKED)
    assert _decide() == hal.ALONE
    assert load().attempts == 0


# Pins


def _pins_set():
    # What decide() does to pins.
    done = []
    real = hal.set_pin
    hal.set_pin = lambda number, level: done.append((number, level))
    try:
        return _decide(), done
    finally:
        hal.set_pin = real


def test_safe_pins_are_set_at_every_boot_without_an_application_and_at_no_other():
    with open("/ota.json", "w") as f:
        json.dump({"safe_pins": {"5": 1}}, f)
    pins = [(5, 1)]
    _clean()
    assert _pins_set() == ("-", pins)
    _clean(image(7), active="a")
    assert _pins_set() == ("a", [])
    hal.set_state(10, "a")
    assert _pins_set() == (hal.SAFE, pins)
    hal.set_state(0, hal.ASKED)
    assert _pins_set() == (hal.ALONE, pins)
    fill_slot("a", image(7), rejected=True)
    assert _pins_set() == ("-", pins)
    _on_trial()
    assert _pins_set() == ("B", [])
    record.open = fails
    try:
        assert _pins_set() == ("-", pins)
    finally:
        del record.open


# Flash that fails


def _failing(function):
    # Calls function while the record cannot be written.
    record.uos = Os(rename=fails)
    try:
        return function()
    finally:
        record.uos = os


def test_a_record_that_cannot_be_written_never_raises():
    _clean(image(7), active="a", floor=7)
    assert _failing(_decide) == "a"  # nothing is to be written
    _on_trial(attempts=1)
    assert _failing(_decide) == "-"  # what cannot be counted is not tried
    assert (load().trial, load().attempts) == ("b", 1)
    _on_trial(attempts=3)
    assert _failing(_decide) == "a"
    assert load().trial == "b" and marks_of("b") == _REJECTED
    assert _decide() == "a"
    assert (load().trial, load().rejected) == (None, 8)
    _clean(image(7))
    assert _failing(_decide) == "a"
    assert load() is None


def test_slots_that_cannot_be_read_or_marked_never_raise():
    for action, expected, left in (("read", "-", None), ("program", "a", "b")):

        def before(what, *_, action=action):
            if what == action:
                raise OSError(5)

        _on_trial(attempts=3)
        with Watched() as flash:
            flash.before = before
            assert _decide() == expected
        assert load().trial == left
        assert _decide() == "a"
        assert load().trial is None


def test_whatever_else_is_raised_means_no_application():
    real = record.load
    for error in (MemoryError, OSError(5), ValueError("x"), KeyError("y")):

        def raises(error=error):
            raise error

        _clean(image(7), active="a")
        record.load = raises
        try:
            assert _decide() == "-"
        finally:
            record.load = real
    assert _decide() == "a"


def test_the_samples_are_what_these_tests_take_them_for():
    assert len(image(7)) > 1024 > 2 * 300 and len(FILES) == 3
    assert sample_image.LIMIT_BYTES < sample_image.SLOT_BYTES
