"""The part of the board's `machine` that is the chip's: reset cause, id, clock, RTC memory."""

import control
import machine
import power
from micropython import const

_RTC_BASE = const(0x60001200)
# RTC user memory as the firmware divides it: three words of clock, magic, length, then data.
_RTC_LENGTH = const(control.RTC + 16)
_RTC_DATA = const(control.RTC + 20)
_RTC_DATA_SIZE = const(492)


def reset_cause():
    return power.words[control.RESET_CAUSE // 4]


def unique_id():
    return bytes(power.page[control.CHIP_ID : control.CHIP_ID + 4])


def freq(hz=None):
    if hz is None:
        return machine.hz
    if hz not in (80000000, 160000000):
        raise ValueError("frequency can only be either 80Mhz or 160MHz")
    machine.hz = hz


def idle():
    pass


class RTC:
    def memory(self, data=None):
        page = power.page
        if data is None:
            return bytes(page[_RTC_DATA : _RTC_DATA + power.words[_RTC_LENGTH // 4]])
        if len(data) > _RTC_DATA_SIZE:
            raise ValueError("buffer too long")
        power.words[_RTC_LENGTH // 4] = len(data)
        page[_RTC_DATA : _RTC_DATA + len(data)] = data


class _Mem32:
    # Only RTC user memory is there to be read and written.
    def _word(self, address):
        offset = address - _RTC_BASE
        if offset % 4 or not 0 <= offset < control.RTC_SIZE:
            raise ValueError("the simulated board has no memory at %#x" % address)
        return (control.RTC + offset) // 4

    def __getitem__(self, address):
        return power.words[self._word(address)]

    def __setitem__(self, address, value):
        power.words[self._word(address)] = value


mem32 = _Mem32()
