"""The part of the board's `machine` that is the chip's: reset cause, id, clock rate, registers."""

import control
import shared
from micropython import const

_RTC_BASE = const(0x60001200)

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
