"""Pins that remember their level, and timers that run whenever the program looks at the time."""

import utime as time


class Pin:
    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    PULL_UP = 1
    IRQ_RISING = 1
    IRQ_FALLING = 2

    _levels = {}

    def __init__(self, id, mode=-1, pull=-1, value=None):
        if id not in range(17):
            raise ValueError("invalid pin")
        self._id = id
        if value is not None:
            self.value(value)
        elif pull == Pin.PULL_UP:
            Pin._levels.setdefault(id, 1)

    def value(self, level=None):
        if level is None:
            return Pin._levels.get(self._id, 0)
        Pin._levels[self._id] = 1 if level else 0

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def irq(self, handler=None, trigger=3, hard=False):
        """Accept a handler; nothing changes a pin from outside, so it is never called."""


class Timer:
    ONE_SHOT = 0
    PERIODIC = 1

    _running = []

    def __init__(self, id=-1, **settings):
        if settings:
            self.init(**settings)

    def init(self, period=-1, freq=None, mode=1, callback=None, hard=False):
        self.deinit()
        self._period = 1000 // freq if freq else period
        self._periodic = mode == Timer.PERIODIC
        self._callback = callback
        self._due = time.ticks_add(time.ticks_ms(), self._period)
        Timer._running.append(self)

    def deinit(self):
        if self in Timer._running:
            Timer._running.remove(self)


def run_timers():
    """Call the timers that are due. The chip does it between bytecodes; here `time` does."""
    if not Timer._running:
        return
    for timer in list(Timer._running):
        if time.ticks_diff(time.ticks_ms(), timer._due) >= 0:
            if timer._periodic:
                timer._due = time.ticks_add(timer._due, timer._period)
            else:
                timer.deinit()
            timer._callback(timer)
