"""The boot decision, with records and slots made by hand: which slot runs, what becomes of them."""

import os
import sys
import time
from hashlib import sha256

import machine
import sample_image
from flash_stubs import Os, fails
from ota import boot, hal, slot_contents, slots
from ota.record import Record, load
from ota.updater import STAGING
from sample_image import FILES, image

_RTC_WORD = 0x600013FC

# What decide() loads beside boot itself is stubbed once; no test may arm a real watchdog.
_armed = []
hal.watchdog = lambda: _armed.append(1)


def _clean(**fields):
    # Leaves a board as after a power cut, with a record with *fields* if there are any.
    slots.remove("/.ota")
    machine.mem32[_RTC_WORD] = 0xA5A5A5A5
    del _armed[:]
    boot.slot = "?"
    if fields:
        r = Record()
        for name in fields:
            setattr(r, name, fields[name])
        r.store()


def _decide():
    boot.decide()
    return boot.slot


def _fill_slot(slot, sequence, files=FILES):
    for folder in ("/.ota", slots.path(slot), slots.path(slot) + "/lib"):
        try:
            os.mkdir(folder)
        except OSError:
            pass
    for name, data in [("MANIFEST", sample_image.manifest(files, sequence))] + files:
        with open(slots.path(slot) + "/" + name, "wb") as f:
            f.write(data)


def _stage(data):
    with open(STAGING, "wb") as f:
        f.write(data)


def _pending(data, sequence=8, active="a", **fields):
    # A board with `data` staged, as the Updater leaves it.
    digest = sha256(data).digest()
    _clean(active=active, sequence=sequence, size_bytes=len(data), digest=digest, **fields)
    if active:
        _fill_slot(active, 7)
    _stage(data)


def _exists(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _whole(slot):
    m = slot_contents.verify_slot(slot, memoryview(bytearray(512)))
    return m.sequence if m else None


# No record


def test_an_empty_board_runs_no_application():
    _clean()
    assert _decide() is None
    assert not _exists("/.ota/record")


def test_without_a_record_the_newest_whole_slot_runs_and_is_recorded():
    for a, b, chosen in ((7, 8, "b"), (8, 7, "a"), (7, 7, "a"), (7, 0, "a"), (0, 7, "b")):
        _clean()
        for slot, sequence in (("a", a), ("b", b)):
            if sequence:
                _fill_slot(slot, sequence)
        assert _decide() == chosen
        r = load()
        assert (r.active, r.trial, r.floor, r.size_bytes) == (chosen, None, max(a, b), 0)


def test_without_a_record_a_slot_that_is_not_whole_does_not_run():
    _clean()
    _fill_slot("a", 7)
    _fill_slot("b", 8)
    os.remove("/.ota/b/app.py")
    assert (_decide(), load().floor) == ("a", 7)
    _clean()
    _fill_slot("a", 7)
    with open("/.ota/a/app.py", "ab") as f:
        f.write(b"#")
    assert _decide() is None
    assert load() is None


def test_a_damaged_record_is_as_none_at_all():
    _clean(active="a", floor=9)
    _fill_slot("a", 7)
    _fill_slot("b", 8)
    with open("/.ota/record", "r+b") as f:
        f.write(b"MPBS")
    assert _decide() == "b"
    assert (load().active, load().floor) == ("b", 8)


def test_a_record_new_is_not_looked_at():
    _clean(active="b")
    os.rename("/.ota/record", "/.ota/record.new")
    assert _decide() is None


# An active slot


def test_the_active_slot_runs():
    for active in ("a", "b", None):
        _clean(active=active, floor=7)
        generation = load().generation
        assert _decide() == active
        assert load().generation == generation  # nothing is written
        assert not _armed


def test_ten_boots_that_never_were_healthy_lead_to_safe_mode_and_one_more_try():
    _clean(active="a")
    for boots in range(10):
        assert hal.counters() == (boots, 0)
        assert _decide() == "a"
    for _ in range(3):
        assert _decide() is None
        assert hal.counters() == (9, 0)
        assert _decide() == "a"
        assert hal.counters() == (10, 0)
    hal.set_counters(0, 0)  # a healthy boot
    assert _decide() == "a"


def test_a_power_cut_forgets_the_boots():
    _clean(active="a")
    hal.set_counters(10, 0)
    for garbage in (0, 0xFFFFFFFF, 0xA5A5A5A5, 0x2A6C000A, 0x1A6D000A):
        machine.mem32[_RTC_WORD] = garbage
        assert _decide() == "a"
        assert hal.counters() == (1, 0)


def test_a_wake_from_deep_sleep_is_not_counted():
    _clean(active="a")
    hal.set_counters(4, 0)
    real = machine.reset_cause
    machine.reset_cause = lambda: machine.DEEPSLEEP_RESET
    try:
        for _ in range(20):
            assert _decide() == "a"
        assert hal.counters() == (4, 0)
    finally:
        machine.reset_cause = real
    assert _decide() == "a"
    assert hal.counters() == (5, 0)


def test_the_counters_share_one_word_and_keep_each_other():
    _clean()
    for boots in (0, 1, 9, 255):
        for installs in (0, 3, 255):
            hal.set_counters(boots, installs)
            assert hal.counters() == (boots, installs)
    hal.set_counters(0x12, 0x34)
    assert machine.mem32[_RTC_WORD] == 0x2A6D3412


# A trial


def test_a_trial_has_three_boots_each_counted_before_it_runs():
    _clean(active="a", trial="b", sequence=8, floor=7)
    for attempts in (1, 2, 3):
        assert _decide() == "b"
        assert (load().attempts, load().trial) == (attempts, "b")
        assert len(_armed) == attempts
    assert _decide() == "a"
    r = load()
    assert (r.active, r.trial, r.attempts, r.rejected, r.floor) == ("a", None, 0, 8, 7)
    assert len(_armed) == 3
    assert _decide() == "a"


def test_attempts_decide_whatever_they_are():
    for attempts in (0, 1, 2, 3, 4, 255):
        _clean(active="a", trial="b", attempts=attempts, sequence=8)
        assert _decide() == ("b" if attempts < 3 else "a")
        assert load().rejected == (0 if attempts < 3 else 8)


def test_a_trial_without_a_version_before_it_ends_in_none():
    _clean(trial="a", attempts=3, sequence=1)
    assert _decide() is None
    assert (load().active, load().rejected) == (None, 1)


def test_a_trial_does_not_count_as_an_unhealthy_boot():
    _clean(active="a", trial="b", sequence=8)
    hal.set_counters(10, 0)
    assert _decide() == "b"
    assert hal.counters() == (10, 0)


# A pending image


def test_a_pending_image_is_unpacked_into_the_idle_slot_and_tried():
    for active, idle in (("a", "b"), ("b", "a"), (None, "a")):
        _pending(image(FILES, 8), active=active, floor=7, rejected=3)
        assert _decide() == idle
        r = load()
        assert (r.active, r.trial, r.attempts) == (active, idle, 1)
        assert (r.sequence, r.size_bytes, r.digest) == (8, 0, bytes(32))
        assert (r.floor, r.rejected) == (7, 3)
        assert _whole(idle) == 8
        assert active is None or _whole(active) == 7
        assert not _exists(STAGING)
        assert hal.counters() == (0, 0)


def test_what_was_in_the_idle_slot_is_gone():
    _pending(image(FILES, 8))
    _fill_slot("b", 5, [("old.py", b"old"), ("lib/old.py", b"old")])
    assert _decide() == "b"
    assert sorted(os.listdir("/.ota/b")) == ["MANIFEST", "app.py", "empty", "lib"]
    assert os.listdir("/.ota/b/lib") == ["valves.py"]


def test_an_install_that_was_cut_off_is_done_again():
    _pending(image(FILES, 8))
    _fill_slot("b", 8, FILES[:1])
    machine.mem32[_RTC_WORD] = 0xA5A5A5A5
    assert _decide() == "b"
    assert _whole("b") == 8


def test_after_three_resets_in_an_install_the_image_is_dropped():
    _pending(image(FILES, 8))
    hal.set_counters(0, 2)
    assert _decide() == "b"
    _pending(image(FILES, 8))
    hal.set_counters(0, 3)
    assert _decide() == "a"
    assert (load().size_bytes, load().trial, load().rejected) == (0, None, 0)
    assert hal.counters() == (1, 0)
    assert _decide() == "a"


def test_each_install_is_counted_before_it_begins():
    from ota import install

    _pending(image(FILES, 8))
    hal.set_counters(2, 0)
    seen = []
    real = install.install
    install.install = lambda r: seen.append(hal.counters())
    try:
        boot._install(load())
    finally:
        install.install = real
    assert seen == [(2, 1)]
    assert hal.counters() == (2, 0)


def test_an_image_that_finds_no_memory_is_kept_for_three_boots():
    from ota import install

    def exhausted(boot_record):
        boot_record.trial = "b"  # what it began in memory must count for nothing
        raise MemoryError

    _pending(image(FILES, 8))
    real = install.install
    install.install = exhausted
    try:
        for boots in (1, 2, 3):
            assert _decide() == "a"
            assert load().size_bytes
            assert hal.counters() == (boots, boots)
        assert _decide() == "a"
    finally:
        install.install = real
    assert (load().size_bytes, load().trial) == (0, None)


def test_a_staging_file_that_changed_or_is_missing_is_dropped():
    data = image(FILES, 8)
    for spoilt in (data[:-1] + b"\1", data[:-1], data + b"\0", b"", None):
        _pending(data, floor=7, rejected=3)
        if spoilt is None:
            os.remove(STAGING)
        else:
            _stage(spoilt)
        assert _decide() == "a"
        r = load()
        assert (r.active, r.trial, r.size_bytes, r.sequence) == ("a", None, 0, 0)
        assert (r.floor, r.rejected) == (7, 3)
        assert not _exists("/.ota/b/app.py")


def test_an_image_that_is_bad_though_its_digest_is_right_is_dropped():
    good = image(FILES, 8)
    clash = [("a", b"file"), ("a/b.py", b"in a file")]
    for data in (good[:-512], good.replace(b"pass", b"exit"), b"no tar", image(clash, 8)):
        _pending(data)
        assert _decide() == "a"
        assert (load().trial, load().size_bytes) == (None, 0)
        assert _whole("a") == 7


def test_an_image_with_another_sequence_than_the_record_is_dropped():
    _pending(image(FILES, 9), sequence=8)
    assert _decide() == "a"
    assert load().trial is None


def test_a_slot_that_does_not_read_back_is_not_tried():
    real = slot_contents.verify_slot
    slot_contents.verify_slot = lambda slot, buf: None
    _pending(image(FILES, 8))
    try:
        assert _decide() == "a"
    finally:
        slot_contents.verify_slot = real
    assert (load().trial, load().size_bytes) == (None, 0)


def test_a_staging_file_that_cannot_be_removed_costs_the_trial_nothing():
    from ota import install

    _pending(image(FILES, 8))
    install.slots.os = Os(remove=fails)
    try:
        assert _decide() == "b"
    finally:
        install.slots.os = os
    r = load()
    assert (r.trial, r.sequence, r.attempts) == ("b", 8, 1)
    r.confirm()
    assert load().floor == 8


# Flash that fails


def _failing(function):
    # Calls function while the record cannot be written.
    boot.record.os = Os(rename=fails)
    try:
        return function()
    finally:
        boot.record.os = os


def test_a_record_that_cannot_be_written_never_raises():
    _clean(active="a", floor=7)
    assert _failing(_decide) == "a"  # nothing is to be written
    _clean(active="a", trial="b", attempts=1, sequence=8)
    # What cannot be counted is not tried.
    assert _failing(_decide) is None
    assert (load().trial, load().attempts) == ("b", 1) and not _armed
    _clean(active="a", trial="b", attempts=3, sequence=8)
    assert _failing(_decide) == "a"
    assert load().trial == "b"
    assert _decide() == "a"
    assert load().trial is None
    _clean()
    _fill_slot("a", 7)
    assert _failing(_decide) == "a"
    assert load() is None


def test_a_pending_image_whose_trial_cannot_be_recorded_leaves_the_active_slot():
    _pending(image(FILES, 8))
    assert _failing(_decide) == "a"
    assert (load().size_bytes != 0, load().trial) == (True, None)
    assert _decide() == "b"


def test_whatever_else_is_raised_means_no_application():
    real = boot.record.load
    for error in (MemoryError, OSError(5), ValueError("x"), KeyError("y")):

        def raises(error=error):
            raise error

        _clean(active="a")
        boot.record.load = raises
        try:
            assert _decide() is None
        finally:
            boot.record.load = real
    assert _decide() == "a"


# What runs is what is confirmed


def _begin():
    import ota

    class Station:
        def isconnected(self):
            return True

    from ota import hal as used

    class Armed:
        def __init__(self):
            _armed.append(1)

        def feed(self):
            pass

    used.watchdog = Armed
    used.timer = lambda period_ms, callback: None
    used.join = lambda hostname, ssid, key: Station()
    services = ota.OTA(confirm_s=0)
    services.begin()
    return services


def test_a_trial_that_does_not_run_is_not_on_trial():
    # Its attempt could not be counted, or boot could not note that it is taken back.
    for path, trial in ((None, False), ("/.ota/a", False), ("/.ota/b", True)):
        _clean(active="a", trial="b", attempts=3, sequence=8)
        if path:
            sys.path.insert(0, path)
        try:
            assert _begin().trial is trial, path
            assert len(_armed) == trial
        finally:
            if path:
                sys.path.remove(path)


def test_put_first_puts_the_slot_and_its_lib_first():
    _clean(active="a")
    _fill_slot("a", 7)
    before = list(sys.path)
    loaded = len(sys.modules)
    boot.put_first("a")
    try:
        assert sys.path == ["/.ota/a", "/.ota/a/lib"] + before
        assert len(sys.modules) == loaded  # it brings no ota of its own
    finally:
        sys.path[:] = before


def test_a_window_that_is_over_stays_closed_when_ticks_come_round():
    _clean(active="a")
    services = _begin()
    services.arduino.handle = lambda: False
    services.handle()
    assert services.window is None
    services.allow_for(0.01)
    services.handle()
    assert services.window
    time.sleep_ms(20)
    services.handle()
    assert services.window == 0
    services.handle()
    assert services.window == 0
