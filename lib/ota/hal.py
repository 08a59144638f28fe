"""The chip: reset, watchdog, counters that a reset keeps, Wi-Fi. The only module that imports
`machine` and `network`.
"""

import machine
from micropython import const

# The last word of the 512 bytes of RTC user memory: kept by a reset, lost with the power.
# machine.RTC().memory() reaches it only with more than 488 bytes in use.
_COUNTERS = const(0x600013FC)
_MAGIC = const(0x2A6D0000)


def reset():
    """Restart the chip."""
    machine.reset()


def chip_id():
    """Return the chip's id as six hex digits, as ESP.getChipId() of the Arduino core has it."""
    return "%06x" % (int.from_bytes(machine.unique_id(), "little") & 0xFFFFFF)


def watchdog():
    """Start the chip's watchdog and return it, to be fed. Nothing but a reset stops it again."""
    return machine.WDT()


def timer(period_ms, callback):
    """Call `callback(timer)` every *period_ms*; return the timer, which must be kept for ever."""
    periodic = machine.Timer(-1)  # which takes nothing else here
    periodic.init(period=period_ms, mode=machine.Timer.PERIODIC, callback=callback)
    return periodic


def woke_from_sleep():
    """Return whether this boot is a wake-up from deep sleep, which an application planned."""
    return machine.reset_cause() == machine.DEEPSLEEP_RESET


def counters():
    """Return (boots, installs): boots since one was healthy, tries at the pending image.

    Both are 0 after a power cut.
    """
    word = machine.mem32[_COUNTERS]
    if word & ~0xFFFF != _MAGIC:
        return 0, 0
    return word & 0xFF, word >> 8 & 0xFF


def set_counters(boots, installs):
    """Keep *boots* and *installs*, 0 to 255 each, over the next reset."""
    machine.mem32[_COUNTERS] = _MAGIC | installs << 8 | boots


def join(hostname, ssid, key):
    """Start joining the Wi-Fi network *ssid*; return the station, a network.WLAN.

    The access point that a new board opens, with a key that everybody knows, is turned off. The
    chip keeps the last network in its own flash and joins it by itself, so nothing is written when
    *ssid* is that network: see `OTA.handle`.
    """
    import network  # here, since the boot decision needs this module too, and no network

    network.hostname(hostname)
    access_point = network.WLAN(network.WLAN.IF_AP)
    if access_point.active():
        access_point.active(False)
    station = network.WLAN(network.WLAN.IF_STA)
    if not station.active():
        station.active(True)
    if ssid and station.config("ssid") != ssid:
        station.connect(ssid, key)
    return station
