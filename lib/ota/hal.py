"""The chip: flash, reset, watchdog, what a reset keeps, pins, Wi-Fi. The only module that imports
`esp`, `machine` and `network`. RAM: about 600 bytes.
"""

import umachine
from esp import flash_erase, flash_read, flash_write  # noqa: F401 - for the slots and the Updater
from micropython import const

# The last word of the 512 bytes of RTC user memory: kept by a reset, lost with the power. It
# belongs to the block at the end of that memory that docs/SPEC.md describes.
_STATE = const(0x600013FC)
_VERSION = const(0x4D32)  # "M2", the block's format, in the upper half of the word
_ON_TRIAL = const(0x80)  # in the byte that names the slot
# In the place of a slot: the next boot is to run the services alone; this boot does.
_ASKED_ALONE = const(0x21)
_ALONE = const(0x2B)

# What is kept over one restart lies at the beginning of the block.
_KEPT_AT = const(0x600013A0)
_KEPT_BYTES = const(92)


def reset():
    """Restart the chip."""
    umachine.reset()


def chip_id():
    """Return the chip's id as six hex digits, as ESP.getChipId() of the Arduino core has it."""
    return "%06x" % (int.from_bytes(umachine.unique_id(), "little") & 0xFFFFFF)


def watchdog():
    """Start the chip's watchdog and return it, to be fed. Nothing but a reset stops it again."""
    return umachine.WDT()


def timer(period_ms, callback):
    """Call `callback(timer)` every *period_ms*; return the timer, which must be kept for ever."""
    periodic = umachine.Timer(-1)  # which takes nothing else here
    periodic.init(period=period_ms, mode=umachine.Timer.PERIODIC, callback=callback)
    return periodic


def set_pin(number, level):
    """Make pin *number* an output at *level*, 0 or 1. Raises ValueError for a pin there is not."""
    umachine.Pin(number, umachine.Pin.OUT, value=level)


def was_bitten():
    """Return whether a watchdog has ended the boot before this one."""
    return umachine.reset_cause() == umachine.WDT_RESET


def woke_from_sleep():
    """Return whether this boot is a wake-up from deep sleep, which an application planned."""
    return umachine.reset_cause() == umachine.DEEPSLEEP_RESET


def boots():
    """Return how many boots of the application in a row were not healthy; 0 after a power cut."""
    return _state() >> 8 & 0xFF


def running():
    """Return the slot that this boot runs, "a", "b" or None, and whether it is on trial."""
    letter = _state() & 0x7F
    return (chr(letter) if letter > 0x60 else None), bool(_state() & _ON_TRIAL)


def set_boots(count):
    """Keep *count*, 0 to 255, over the next reset."""
    umachine.mem32[_STATE] = _VERSION << 16 | count << 8 | _state() & 0xFF


def set_running(slot, is_trial=False):
    """Keep which slot this boot runs, for `running()`; None: no application."""
    letter = ord(slot) if slot else 0
    if is_trial:
        letter |= _ON_TRIAL
    umachine.mem32[_STATE] = _VERSION << 16 | _state() & 0xFF00 | letter


def ask_alone():
    """Let the next boot, and only that, run the services without the application."""
    umachine.mem32[_STATE] = _VERSION << 16 | _state() & 0xFF00 | _ASKED_ALONE


def take_alone():
    """Return whether this boot is to run the services alone; to be asked once in a boot."""
    if _state() & 0x7F != _ASKED_ALONE:
        return False
    umachine.mem32[_STATE] = _VERSION << 16 | _state() & 0xFF00 | _ALONE
    return True


def is_alone():
    """Return whether this boot runs the services alone because it was asked to."""
    return _state() & 0x7F == _ALONE


def keep(data):
    """Keep *data*, at most 92 bytes, over the next reset; what a power cut leaves is not it."""
    data = data + bytes(_KEPT_BYTES - len(data))
    for i in range(0, _KEPT_BYTES, 4):
        umachine.mem32[_KEPT_AT + i] = int.from_bytes(data[i : i + 4], "little")


def kept():
    """Return the 92 bytes that `keep` has kept, whatever they are now."""
    data = b""
    for i in range(0, _KEPT_BYTES, 4):
        data += (umachine.mem32[_KEPT_AT + i] & 0xFFFFFFFF).to_bytes(4, "little")
    return data


def _state():
    # The lower half of the word, where the upper half says that it is ours.
    word = umachine.mem32[_STATE]
    return word & 0xFFFF if word >> 16 & 0xFFFF == _VERSION else 0


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
