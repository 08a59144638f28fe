"""The part of the board's `machine` that is the chip's: reset cause, id, clock, RTC memory."""

import control
import shared
from micropython import const

_RTC_BASE = const(0x60001200)
# RTC user memory as the firmware divides it: three words of clock, magic, length, then data.
_RTC_MAGIC = control.RTC + 12
_RTC_LENGTH = control.RTC + 16
_RTC_DATA = control.RTC + 20
_RTC_DATA_SIZE = const(492)
_MAGIC = const(0x75507921)  # MEM_MAGIC of the firmware's machine_rtc.c

_hz = 80000000  # of the processor


def reset_cause():
    return shared.words[control.RESET_CAUSE // 4]


def unique_id():
    return bytes(shared.page[control.CHIP_ID : control.CHIP_ID + 4])


def freq(hz=None):
    global _hz
    if hz is None:
        return _hz
    if hz not in (80000000, 160000000):
        raise ValueError("frequency can only be either 80Mhz or 160MHz")
    _hz = hz


def idle():
    pass


def start_rtc():
    """Give RTC().memory() a length of 0 when what is there is not the firmware's own."""
    words = shared.words
    if words[_RTC_MAGIC // 4] != _MAGIC:
        words[_RTC_MAGIC // 4] = _MAGIC
        words[_RTC_LENGTH // 4] = 0


class RTC:
    def memory(self, data=None):
        page = shared.page
        if data is None:
            return bytes(page[_RTC_DATA : _RTC_DATA + shared.words[_RTC_LENGTH // 4]])
        if len(data) > _RTC_DATA_SIZE:
            raise ValueError("buffer too long")
        shared.words[_RTC_LENGTH // 4] = len(data)
        page[_RTC_DATA : _RTC_DATA + len(data)] = data


class _Mem32:
    # Only RTC user memory is there to be read and written.
    def _word(self, address):
        offset = address - _RTC_BASE
        if offset % 4 or not 0 <= offset < control.RTC_SIZE:
            raise ValueError("the simulated board has no memory at %#x" % address)
        return (control.RTC + offset) // 4

    def __getitem__(self, address):
        return shared.words[self._word(address)]

    def __setitem__(self, address, value):
        shared.words[self._word(address)] = value


mem32 = _Mem32()
