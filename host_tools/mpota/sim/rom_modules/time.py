"""The board's `time`: the interpreter's own, with the timers run where a program waits or looks."""

import machine_pin
import utime
from micropython import const
from utime import *  # noqa: F403

_SLICE_MS = const(10)


def ticks_ms():
    machine_pin.run_timers()
    return utime.ticks_ms()


def sleep_ms(ms):
    end = utime.ticks_add(utime.ticks_ms(), ms)
    while True:
        left = utime.ticks_diff(end, ticks_ms())
        if left <= 0:
            return
        utime.sleep_ms(min(left, _SLICE_MS))


def sleep(seconds):
    sleep_ms(int(seconds * 1000))
