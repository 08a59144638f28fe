"""The part of the board's `machine` that is the clock: RTC, its memory, its alarm, deep sleep.

As on the chip the clock begins in 2000, is set by the program, and is kept by a reset and a deep
sleep. A reset sets it back by the time since the boot before, since the chip's counter begins anew.
"""

import struct

import control
import shared
import time  # the interpreter's own
from micropython import const

# RTC user memory as the firmware divides it: the time at the boot in microseconds (64 bits), the
# calibration of the clock, magic, length of the data, data.
_BOOT_TIME = control.RTC
_MAGIC_AT = control.RTC + 12
_LENGTH = control.RTC + 16
_MEMORY = control.RTC + 20
_MEMORY_SIZE = const(492)
_MAGIC = const(0x75507921)  # MEM_MAGIC of the firmware's machine_rtc.c
_WAKES_FROM_DEEP_SLEEP = const(4)

EPOCH_S = 946684800  # the beginning of 2000, as the host counts

_booted_ns = 0  # by the host's clock
_alarm_us = 0
_wakes = 0


def start():
    """Begin to count; forget what is in RTC memory where it is not the firmware's own."""
    global _booted_ns
    _booted_ns = time.time_ns()
    words = shared.words
    if words[_MAGIC_AT // 4] != _MAGIC:
        words[_MAGIC_AT // 4] = _MAGIC
        words[_LENGTH // 4] = 0
        _set_boot_time(0)


def _set_boot_time(us):
    struct.pack_into("<q", shared.page, _BOOT_TIME, us)


def _since_boot_us():
    return (time.time_ns() - _booted_ns) // 1000


def now_us():
    """Return the time, in microseconds since 2000."""
    return struct.unpack_from("<q", shared.page, _BOOT_TIME)[0] + _since_boot_us()


def set_now_us(us):
    """Set the time to *us* microseconds since 2000."""
    _set_boot_time(us - _since_boot_us())


def host_now_s():
    """Return the time of this computer, in seconds since 2000."""
    return time.time_ns() // 1000000000 - EPOCH_S


def sleep_deeply(time_ms=None):
    """Sleep until *time_ms* or the alarm of the RTC ends it; a reset follows."""
    if time_ms is not None:
        time_ms = max(time_ms, 1)
    if _wakes & _WAKES_FROM_DEEP_SLEEP:
        left_ms = max((_alarm_us - now_us()) // 1000, 1)
        time_ms = left_ms if time_ms is None else min(time_ms, left_ms)
    _set_boot_time(now_us() + (time_ms or 0) * 1000)
    shared.words[control.SLEEP_MS // 4] = time_ms or 0
    shared.down(control.REQUEST_DEEP_SLEEP)


def _check_alarm(alarm_id):
    if alarm_id != 0:
        raise ValueError("invalid alarm")


class RTC:
    ALARM0 = 0

    def datetime(self, value=None):
        if value is None:
            us = now_us()
            year, month, day, hour, minute, second, weekday = time.gmtime(us // 1000000 + EPOCH_S)[
                :7
            ]
            return (year, month, day, weekday, hour, minute, second, us // 1000 % 1000)
        year, month, day, _, hour, minute, second, ms = value
        at_s = time.mktime((year, month, day, hour, minute, second, 0, 0))
        set_now_us(((int(at_s) - EPOCH_S) * 1000 + ms) * 1000)

    def memory(self, data=None):
        page = shared.page
        if data is None:
            return bytes(page[_MEMORY : _MEMORY + shared.words[_LENGTH // 4]])
        if len(data) > _MEMORY_SIZE:
            raise ValueError("buffer too long")
        shared.words[_LENGTH // 4] = len(data)
        page[_MEMORY : _MEMORY + len(data)] = data

    def alarm(self, alarm_id, time_ms):
        global _alarm_us
        _check_alarm(alarm_id)
        _alarm_us = now_us() + time_ms * 1000

    def alarm_left(self, alarm_id=0):
        _check_alarm(alarm_id)
        return max((_alarm_us - now_us()) // 1000, 0)

    def irq(self, *, trigger=0, wake=0):
        global _wakes
        _check_alarm(trigger)
        _wakes = wake
