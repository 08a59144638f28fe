"""The time from the network, which is this computer's; without a network there is none."""

import machine_rtc
import network

host = "pool.ntp.org"
timeout = 1


def time():
    if not network.WLAN(network.STA_IF).isconnected():
        raise OSError(-2)  # as a look-up of a name
    return machine_rtc.host_now_s()


def settime():
    machine_rtc.set_now_us(time() * 1000000)
