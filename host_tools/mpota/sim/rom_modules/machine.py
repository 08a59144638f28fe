"""The board's `machine`: reset, RTC memory, watchdog, pins and timers."""

import control
import machine_pin
import power
from micropython import const

Pin = machine_pin.Pin
Timer = machine_pin.Timer

PWRON_RESET = 0
WDT_RESET = 1
SOFT_RESET = 4
DEEPSLEEP_RESET = 5
HARD_RESET = 6

_RTC_BASE = const(0x60001200)
# RTC user memory as the firmware divides it: three words of clock, magic, length, then data.
_RTC_LENGTH = const(control.RTC + 16)
_RTC_DATA = const(control.RTC + 20)
_RTC_DATA_SIZE = const(492)

_freq = 80000000


def reset():
    power.down(control.REQUEST_RESET)


def reset_cause():
    return power.word(control.RESET_CAUSE)


def unique_id():
    return bytes(power.page()[control.CHIP_ID : control.CHIP_ID + 4])


def freq(hz=None):
    global _freq
    if hz is None:
        return _freq
    if hz not in (80000000, 160000000):
        raise ValueError("frequency can only be either 80Mhz or 160MHz")
    _freq = hz


def idle():
    pass


class RTC:
    def memory(self, data=None):
        page = power.page()
        if data is None:
            return bytes(page[_RTC_DATA : _RTC_DATA + power.word(_RTC_LENGTH)])
        if len(data) > _RTC_DATA_SIZE:
            raise ValueError("buffer too long")
        power.set_word(_RTC_LENGTH, len(data))
        page[_RTC_DATA : _RTC_DATA + len(data)] = data


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0 or timeout != 5000:
            raise ValueError
        power.set_word(control.WATCHDOG, power.word(control.WATCHDOG_MS))
        self.feed()

    def feed(self):
        power.add(control.FED)


class _Mem32:
    # Only RTC user memory is there to be read and written.
    def _offset(self, address):
        offset = address - _RTC_BASE
        if offset % 4 or not 0 <= offset < control.RTC_SIZE:
            raise ValueError("the simulated board has no memory at %#x" % address)
        return control.RTC + offset

    def __getitem__(self, address):
        return power.word(self._offset(address))

    def __setitem__(self, address, value):
        power.set_word(self._offset(address), value)


mem32 = _Mem32()
