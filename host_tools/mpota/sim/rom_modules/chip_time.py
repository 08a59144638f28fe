"""The board's `time`: the interpreter's, with the chip's clock, which counts from 2000.

Its ticks are the interpreter's; ../ticks.py lets them come round as the chip's do.
"""

import machine_rtc
import time as own_time  # the interpreter's own
from time import sleep, sleep_ms, sleep_us  # noqa: F401
from time import ticks_add, ticks_cpu, ticks_diff, ticks_ms, ticks_us  # noqa: F401


def time():
    return machine_rtc.now_us() // 1000000


def time_ns():
    return machine_rtc.now_us() * 1000


def gmtime(secs=None):
    secs = time() if secs is None else int(secs)
    return own_time.gmtime(secs + machine_rtc.EPOCH_S)[:8]


localtime = gmtime


def mktime(parts):
    # The board's process has no time zone.
    return int(own_time.mktime(parts)) - machine_rtc.EPOCH_S
