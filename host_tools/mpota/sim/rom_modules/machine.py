"""The board's `machine`: its parts are loaded when they are asked for."""

import control
import power

hz = 80000000  # of the processor


def reset():
    power.down(control.REQUEST_RESET)


def __getattr__(name):
    return power.look_up(
        " reset_cause=machine_chip unique_id=machine_chip freq=machine_chip idle=machine_chip"
        " mem32=machine_chip RTC=machine_chip Pin=machine_pin Timer=machine_clocks"
        " WDT=machine_clocks PWRON_RESET=0 WDT_RESET=1 SOFT_RESET=4 DEEPSLEEP_RESET=5"
        " HARD_RESET=6 ",
        name,
    )
