"""Deadlines, in the chip's ticks of a millisecond. RAM: two functions."""

from utime import ticks_add, ticks_diff, ticks_ms


def after(ms):
    """Return the time *ms* from now, in ticks."""
    return ticks_add(ticks_ms(), ms)


def is_past(deadline):
    """Return whether it is *deadline*, in ticks, or later."""
    return ticks_diff(deadline, ticks_ms()) <= 0
