"""The board's `machine`."""

import control
import shared
import time
from machine_bus import SPI, SoftI2C, SoftSPI  # noqa: F401
from machine_chip import freq, idle, mem32, reset_cause, unique_id  # noqa: F401
from machine_clocks import WDT, Timer  # noqa: F401
from machine_pin import ADC, PWM, Pin  # noqa: F401
from machine_rtc import RTC, sleep_deeply  # noqa: F401
from machine_uart import UART  # noqa: F401
from machine import Signal  # noqa: F401 - the interpreter's own

PWRON_RESET = 0
WDT_RESET = 1
SOFT_RESET = 4
DEEPSLEEP_RESET = 5
HARD_RESET = 6

DEEPSLEEP = 4  # what wakes the chip, for RTC().irq()

I2C = SoftI2C
deepsleep = sleep_deeply


def reset():
    shared.down(control.REQUEST_RESET)


def soft_reset():
    raise SystemExit


def lightsleep(time_ms=None):
    time.sleep_ms(time_ms)  # it goes on for ever without


sleep = lightsleep


def disable_irq():
    # As while the firmware is in one step of its own: no timer is called.
    shared.busy += 1
    return shared.busy - 1


def enable_irq(state=0):
    shared.busy = state


def _not_simulated(name):
    def use(*_, **__):
        raise NotImplementedError("machine.%s is not simulated" % name)

    return use


class _NoMemory:
    def __init__(self, name):
        self._say_so = _not_simulated(name)

    def __getitem__(self, address):
        self._say_so()

    def __setitem__(self, address, value):
        self._say_so()


bitstream = _not_simulated("bitstream")
dht_readinto = _not_simulated("dht_readinto")
mem8 = _NoMemory("mem8")
mem16 = _NoMemory("mem16")
time_pulse_us = _not_simulated("time_pulse_us")
