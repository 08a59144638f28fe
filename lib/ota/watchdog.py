"""The watchdog of a trial: a board that is away from `OTA.handle` for 5 s is reset.

RAM: about 300 bytes, in a boot on trial only.
"""

from micropython import const
from utime import ticks_diff, ticks_ms

_LIMIT_MS = const(5000)  # as long as OTA's _MAX_AWAY_MS: who is away for less is healthy
# The chip's own watchdog bites after 1.6 to 3.2 s, whatever machine.WDT says (ets_alt_task.c of the
# port). An application may be busy for longer, so a timer feeds it in between; the bite comes that
# much later.
_PERIOD_MS = const(400)


class Watchdog:
    """Feeds the chip's watchdog while `feed()` is called, and for good once the trial is over.

    Nothing but a reset stops the chip's own watchdog.
    """

    def __init__(self, ota):
        from .hal import timer, watchdog

        self._ota = ota
        self._watchdog = watchdog()
        self.feed()
        self._timer = timer(_PERIOD_MS, self._tick)

    def feed(self):
        """Say that the application is well."""
        self._fed = ticks_ms()
        self._watchdog.feed()

    def _tick(self, _):
        if not self._ota.trial or ticks_diff(ticks_ms(), self._fed) < _LIMIT_MS:
            self._watchdog.feed()
