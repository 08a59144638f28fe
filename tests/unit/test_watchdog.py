"""The watchdog of a trial: it resets a board whose application has not called handle() for 5 s."""

import hardware_stubs
from fake_clock import Clock
from ota import hal, watchdog


class Chip(Clock):
    """The chip's timer, and the time."""

    stopped = False

    def timer(self, period_ms, callback):
        self.tick = callback
        return self

    def deinit(self):
        self.stopped = True

    def resets_at(self, now):
        self.now = now
        try:
            self.tick(self)
        except hardware_stubs.Reset:
            return True
        return False


class Ota:
    """The part of `ota.OTA` that the watchdog uses."""

    trial = True


def _armed(ota, chip):
    before = hal.timer
    hal.timer = chip.timer
    try:
        return watchdog.Watchdog(ota)
    finally:
        hal.timer = before


def test_an_application_may_be_away_for_5_s_and_no_longer():
    with Chip() as chip:
        armed = _armed(Ota, chip)
        assert not chip.resets_at(400) and not chip.resets_at(5000)
        assert chip.resets_at(5001)
        armed.feed()
        assert not chip.resets_at(10000) and chip.resets_at(10002)


def test_a_call_that_takes_long_may_be_announced():
    with Chip() as chip:
        armed = _armed(Ota, chip)
        armed.feed(7000)
        assert not chip.resets_at(12000)
        assert chip.resets_at(12001)
        chip.now = 13000
        armed.feed()
        assert chip.resets_at(18001)


def test_the_next_boot_finds_that_the_application_hung():
    hal.set_state(2, "B")
    with Chip() as chip:
        _armed(Ota, chip)
        assert chip.resets_at(6000)
    assert hal.get_state() == (2, hal.HUNG)


def test_it_resets_nothing_when_the_trial_is_over_and_its_timer_can_be_stopped():
    ota = Ota()
    with Chip() as chip:
        armed = _armed(ota, chip)
        ota.trial = False
        assert not chip.resets_at(60000)
        armed.timer.deinit()
        assert chip.stopped


def test_it_resets_even_if_the_heap_is_full():
    def full(*_):
        raise MemoryError

    before = hal.set_state
    with Chip() as chip:
        _armed(Ota, chip)
        hal.set_state = full
        try:
            assert chip.resets_at(5001)
        finally:
            hal.set_state = before
