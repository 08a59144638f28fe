"""The watchdog of a trial: it resets a board that does not call `OTA.handle` for 5 s.

It is a timer, not the chip's own watchdog: that cannot be stopped once it was started, so the
application could not use it for itself after the trial. RAM: about 1 KB, in a boot on trial only.
"""

from micropython import const
from utime import ticks_add, ticks_diff, ticks_ms

from . import hal, log

_LIMIT_MS = const(5000)  # as long as OTA's _MAX_AWAY_MS: an application away for less is healthy
_PERIOD_MS = const(500)


class Watchdog:
    """Resets the board unless `feed()` is called every 5 s, until `timer.deinit()` is called.

    Before this object is given up, the timer must be stopped: the chip's SDK would go on using it.
    """

    def __init__(self, ota):
        self._ota = ota
        self.feed()
        self.timer = hal.timer(_PERIOD_MS, self._tick)

    def feed(self, away_ms=0):
        """Note that the application is alive; the next call of this may take *away_ms* longer."""
        self._fed = ticks_add(ticks_ms(), away_ms)

    def _tick(self, _):
        if self._ota.trial and ticks_diff(ticks_ms(), self._fed) > _LIMIT_MS:
            try:
                boots, _ = hal.get_state()
                hal.set_state(boots, hal.HUNG)
                log.error("watchdog: handle() was not called for %d ms", _LIMIT_MS)
            finally:  # even if the heap is full
                hal.reset_at_once()
