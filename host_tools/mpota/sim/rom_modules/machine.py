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
