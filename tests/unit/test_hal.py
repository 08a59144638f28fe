"""The chip: what a reset keeps, its id, its pins."""

import machine
from ota import hal
from sample_image import RTC_STATE

_KEPT_BYTES = 92


def test_boots_and_what_runs_are_kept_together():
    for boots in (0, 1, 9, 255):
        for what in ("a", "b", "A", "B", hal.NOTHING, hal.ASKED, hal.ALONE):
            hal.set_state(boots, what)
            assert hal.get_state() == (boots, what)
    hal.set_state(0x12, "a")
    assert machine.mem32[RTC_STATE] == 0x4D321261


def test_what_a_power_cut_leaves_there_is_no_state():
    for word in (0, 0xFFFFFFFF, 0x4D310261, 0x324D0261, 0x61024D32, 0xA5A5A5A5):
        machine.mem32[RTC_STATE] = word
        assert hal.get_state() == (0, hal.NOTHING)


def test_92_bytes_are_kept_beside_the_state():
    hal.set_state(7, "b")
    for data in (b"", b"x", bytes(range(_KEPT_BYTES)), b"\xff" * _KEPT_BYTES):
        hal.keep(data)
        assert hal.kept() == data + bytes(_KEPT_BYTES - len(data))
        assert hal.get_state() == (7, "b")


def test_they_lie_behind_what_applications_reach_with_396_bytes():
    hal.keep(bytes(_KEPT_BYTES))
    hal.set_state(7, "b")
    machine.RTC().memory(b"\xff" * 396)
    assert hal.kept() == bytes(_KEPT_BYTES) and hal.get_state() == (7, "b")
    machine.RTC().memory(b"\xff" * 397)
    assert hal.kept() != bytes(_KEPT_BYTES)
    machine.RTC().memory(b"")


def test_the_chip_s_id_is_six_hex_digits_as_arduino_has_it():
    real = machine.unique_id
    try:
        for raw, chip_id in (
            (b"\x01\x02\x03\x04", "030201"),
            (b"\xff\xff\xff\xff", "ffffff"),
            (bytes(4), "000000"),
        ):
            machine.unique_id = lambda raw=raw: raw
            assert hal.chip_id() == chip_id
    finally:
        machine.unique_id = real


def test_why_the_boot_before_this_one_ended():
    real = machine.reset_cause
    try:
        for cause, woke in (
            (machine.PWRON_RESET, False),
            (machine.WDT_RESET, False),
            (machine.DEEPSLEEP_RESET, True),
            (machine.SOFT_RESET, False),
        ):
            machine.reset_cause = lambda cause=cause: cause
            assert hal.woke_from_sleep() == woke
    finally:
        machine.reset_cause = real


def test_a_pin_is_set_and_one_that_there_is_not_refused():
    for level in (1, 0, 1):
        hal.set_pin(5, level)
        assert machine.Pin(5).value() == level
    for pin in (17, 99):
        try:
            hal.set_pin(pin, 1)
            raise AssertionError("no ValueError")
        except ValueError:
            pass
