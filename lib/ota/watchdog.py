"""The watchdog of a trial: a board that is away from `OTA.handle` for 5 s is reset."""

import time

from micropython import const

_LIMIT_MS = const(5000)  # as long as OTA's _MAX_AWAY_MS: who is away for less is healthy
# The chip's own watchdog bites after 1.6 to 3.2 s, whatever machine.WDT says (ets_alt_task.c of the
# port). An application may be busy for longer, so a timer feeds it in between; the bite comes that
# much later.
_PERIOD_MS = const(400)


class Watchdog:
    """To be fed; until *ota*'s trial is over, since nothing but a reset stops the chip's own."""

    def __init__(self, ota):
        from . import hal

        self._ota = ota
        self._watchdog = hal.watchdog()
        self.feed()
        self._timer = hal.timer(_PERIOD_MS, self._tick)

    def feed(self):
        """Say that the application is well."""
        self._fed = time.ticks_ms()
        self._watchdog.feed()

    def _tick(self, _):
        if not self._ota.trial or time.ticks_diff(time.ticks_ms(), self._fed) < _LIMIT_MS:
            self._watchdog.feed()
