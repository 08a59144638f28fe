"""The board's watchdog and timers."""

import struct

import control
import shared
import time


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0 or timeout != 5000:
            raise ValueError
        shared.words[control.WATCHDOG // 4] = shared.words[control.WATCHDOG_MS // 4]
        self.feed()

    def feed(self):
        shared.words[control.FED // 4] += 1


class Timer:
    ONE_SHOT = 0
    PERIODIC = 1

    _running = []

    def __init__(self, id):
        pass  # as on the chip, init() takes the rest

    def init(self, period=-1, freq=None, mode=1, callback=None, hard=False):
        self.deinit()
        self._period = 1000 // freq if freq else period
        self._periodic = mode == Timer.PERIODIC
        self._on_due = callback
        self._due = time.ticks_add(time.ticks_ms(), self._period)
        Timer._running.append(self)
        struct.pack_into("<Q", shared.page, control.TIMERS, id(_run_timers))

    def deinit(self):
        try:
            Timer._running.remove(self)
        except ValueError:  # it does not run
            pass


def _run_timers(_):
    shared.words[control.TICKED // 4] = 0
    if shared.busy:
        return  # they are called at the next tick
    for timer in Timer._running[:]:
        late_ms = time.ticks_diff(time.ticks_ms(), timer._due)
        if late_ms >= 0:
            if timer._periodic:
                # What was missed for long is not made up for.
                timer._due = time.ticks_add(timer._due, max(timer._period, late_ms))
            else:
                timer.deinit()
            timer._on_due(timer)
