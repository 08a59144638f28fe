"""The watchdog of a trial: fed for 5 s after the application was last heard of, and no longer."""

from fake_clock import Clock
from ota import hal, watchdog


class Chip(Clock):
    """The chip's watchdog and timer, and the time."""

    fed = 0

    def feed(self):
        self.fed += 1

    def timer(self, period_ms, callback):
        assert period_ms < 1600  # the chip's own watchdog bites at the earliest
        self.tick = callback
        return self

    def is_fed_at(self, now):
        self.now, before = now, self.fed
        self.tick(None)
        return self.fed > before


class Ota:
    """What the watchdog asks of `ota.OTA`."""

    trial = True


def _armed(ota, chip):
    before = hal.watchdog, hal.timer
    hal.watchdog, hal.timer = lambda: chip, chip.timer
    try:
        armed = watchdog.Watchdog(ota)
    finally:
        hal.watchdog, hal.timer = before
    assert chip.fed == 1
    return armed


def test_an_application_may_be_away_for_5_s_and_no_longer():
    with Chip() as chip:
        armed = _armed(Ota, chip)
        assert chip.is_fed_at(400) and chip.is_fed_at(4900)
        assert not chip.is_fed_at(5000) and not chip.is_fed_at(60000)
        armed.feed()
        assert chip.is_fed_at(64000) and not chip.is_fed_at(65000)


def test_nothing_bites_when_the_trial_is_over():
    ota = Ota()
    with Chip() as chip:
        _armed(ota, chip)
        ota.trial = False
        assert chip.is_fed_at(400) and chip.is_fed_at(60000)
