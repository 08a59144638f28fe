"""The package's time: the real one, or one that a test sets.

run_tests.py puts this module in the place of `utime` before it imports the package.
"""

import sys
import time

# A clock that is set has the chip's ticks, which come round after 12 days.
_PERIOD_MS = 1 << 30

_clock = None


def take_the_place_of_utime():
    """Replace `utime` by this module from now on."""
    sys.modules["utime"] = sys.modules[__name__]


class Clock:
    """While it is entered, the time is `now`, in milliseconds, and sleeping moves it on."""

    now = 0

    def __enter__(self):
        global _clock
        _clock = self
        return self

    def __exit__(self, *_):
        global _clock
        _clock = None

    def wait(self, ms):
        """Let *ms* pass."""
        self.now += ms


def ticks_ms():
    return _clock.now % _PERIOD_MS if _clock else time.ticks_ms()


def ticks_add(ticks, ms):
    return (ticks + ms) % _PERIOD_MS if _clock else time.ticks_add(ticks, ms)


def ticks_diff(later, earlier):
    if _clock:
        half = _PERIOD_MS // 2
        return (later - earlier + half) % _PERIOD_MS - half
    return time.ticks_diff(later, earlier)


def sleep_ms(ms):
    _clock.wait(ms) if _clock else time.sleep_ms(ms)


def sleep(seconds):
    sleep_ms(seconds * 1000)
