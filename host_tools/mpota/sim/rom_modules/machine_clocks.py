"""The board's watchdog and timers. The chip calls timers between bytecodes; here it is done when
the program waits or looks at the time: `time` and `select` are made to, once this module is loaded.
"""

import select
import time

import control
import machine
import power
import utime
from micropython import const

_SLICE_MS = const(10)


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0 or timeout != 5000:
            raise ValueError
        power.words[control.WATCHDOG // 4] = power.words[control.WATCHDOG_MS // 4]
        self.feed()

    def feed(self):
        power.words[control.FED // 4] += 1


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
        self._callback = callback
        self._due = utime.ticks_add(utime.ticks_ms(), self._period)
        Timer._running.append(self)

    def deinit(self):
        if self in Timer._running:
            Timer._running.remove(self)


def _run_timers():
    for timer in list(Timer._running):
        if utime.ticks_diff(utime.ticks_ms(), timer._due) >= 0:
            if timer._periodic:
                timer._due = utime.ticks_add(timer._due, timer._period)
            else:
                timer.deinit()
            timer._callback(timer)


def _ticks_ms():
    _run_timers()
    return utime.ticks_ms()


def _sleep_ms(ms):
    end = utime.ticks_add(utime.ticks_ms(), ms)
    while True:
        left = utime.ticks_diff(end, _ticks_ms())
        if left <= 0:
            return
        utime.sleep_ms(min(left, _SLICE_MS))


# So that all of this is loaded once.
machine.WDT = WDT
machine.Timer = Timer
select.run_timers = _run_timers
time.ticks_ms = _ticks_ms
time.sleep_ms = _sleep_ms
time.sleep = lambda seconds: _sleep_ms(int(seconds * 1000))
