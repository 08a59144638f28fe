"""The board's `machine`."""

import control
import shared
from machine_chip import RTC, freq, idle, mem32, reset_cause, unique_id  # noqa: F401
from machine_clocks import WDT, Timer  # noqa: F401
from machine_pin import Pin  # noqa: F401

PWRON_RESET = 0
WDT_RESET = 1
SOFT_RESET = 4
DEEPSLEEP_RESET = 5
HARD_RESET = 6


def reset():
    shared.down(control.REQUEST_RESET)


def soft_reset():
    raise SystemExit


def deepsleep(time_ms=0):
    shared.words[control.SLEEP_MS // 4] = max(time_ms, 0)
    shared.down(control.REQUEST_DEEP_SLEEP)


def _not_simulated(name):
    def use(*_, **__):
        raise NotImplementedError("machine.%s is not simulated" % name)

    return use


ADC = _not_simulated("ADC")
I2C = _not_simulated("I2C")
PWM = _not_simulated("PWM")
SPI = _not_simulated("SPI")
Signal = _not_simulated("Signal")
SoftI2C = _not_simulated("SoftI2C")
SoftSPI = _not_simulated("SoftSPI")
UART = _not_simulated("UART")
bitstream = _not_simulated("bitstream")
dht_readinto = _not_simulated("dht_readinto")
lightsleep = _not_simulated("lightsleep")
time_pulse_us = _not_simulated("time_pulse_us")
