"""The chip: flash, reset, timer, what a reset keeps, pins, Wi-Fi. The only module that imports
`esp`, `machine` and `network`. RAM: about 600 bytes.
"""

import sys

import umachine
from esp import flash_erase, flash_read, flash_size, flash_write  # noqa: F401 - for others here
from micropython import const

from . import log

# The block at the end of the 512 bytes of RTC user memory, which docs/SPEC.md describes. A reset
# keeps it, a power cut clears it. Its last word is the state; the data of `keep` lie before that.
_KEPT_AT = const(0x600013A0)
_KEPT_BYTES = const(92)
_STATE = const(0x600013FC)
_VERSION = const(0x4D32)  # "M2", the block's format, in the upper half of the state

# The state tells what runs: slot "a" or "b", in capitals if it is on trial; or one of these.
NOTHING = "-"  # no application
SAFE = "s"  # no application in this boot: too many boots in a row were not healthy
ASKED = "!"  # the next boot is to run the services alone, without the application
ALONE = "+"  # this boot runs the services alone
HUNG = "?"  # watchdog.py has reset the board, since the application on trial hung


def reset():
    """Say goodbye by mDNS, if the network knows the board's name, and restart the chip."""
    mdns = sys.modules.get("ota.mdns")
    if mdns and mdns.responder:
        try:
            from .mdns.talk import leave

            leave(mdns.responder)
        except Exception as e:
            log.error("mdns: no goodbye: %r", e)
    reset_at_once()


def reset_at_once():
    """Restart the chip."""
    umachine.reset()


def chip_id():
    """Return the chip's id as six hex digits, as ESP.getChipId() of the Arduino core has it."""
    return "%06x" % (int.from_bytes(umachine.unique_id(), "little") & 0xFFFFFF)


def timer(ms, callback):
    """Call `callback(timer)` every *ms*; return the timer.

    Keep the timer until it was stopped by its `deinit()`: the chip's SDK uses it until then.
    """
    periodic = umachine.Timer(-1)  # on this chip the period is given to init()
    periodic.init(period=ms, mode=umachine.Timer.PERIODIC, callback=callback)
    return periodic


def set_pin(number, level):
    """Make pin *number* an output at *level*, 0 or 1. Raises ValueError if there is no such pin."""
    umachine.Pin(number, umachine.Pin.OUT, value=level)


def has_keys():
    """Return whether the board has keys for signatures; a flash that does not answer may have."""
    # Imported here: with two more names this module's table would take a step of 64 bytes.
    import uos
    from uerrno import ENOENT

    try:
        uos.stat("/ota.keys")
        return True
    except OSError as e:
        return e.errno != ENOENT


def woke_from_sleep():
    """Return whether this boot is a wake-up from deep sleep, which an application planned."""
    return umachine.reset_cause() == umachine.DEEPSLEEP_RESET


def get_state():
    """Return (boots, what runs): boots of the application in a row that were not healthy, and a
    character as above. After a power cut they are 0 and "-".
    """
    word = umachine.mem32[_STATE]
    if word >> 16 & 0xFFFF != _VERSION:
        return 0, NOTHING
    return word >> 8 & 0xFF, chr(word & 0x7F)


def set_state(boots, what):
    """Keep the number *boots*, 0 to 255, and the character *what* over the next reset."""
    umachine.mem32[_STATE] = _VERSION << 16 | boots << 8 | ord(what)


def mount_files():
    """Mount the file system where the firmware does. Raises OSError when it is mounted."""
    import flashbdev
    import vfs

    vfs.mount(flashbdev.bdev, "/")


def keep(data):
    """Keep *data*, at most 92 bytes, over the next reset. A power cut clears them."""
    data = data + bytes(_KEPT_BYTES - len(data))
    for i in range(0, _KEPT_BYTES, 4):
        umachine.mem32[_KEPT_AT + i] = int.from_bytes(data[i : i + 4], "little")


def kept():
    """Return the 92 bytes in the place of `keep`; after a power cut they are random."""
    data = b""
    for i in range(0, _KEPT_BYTES, 4):
        data += (umachine.mem32[_KEPT_AT + i] & 0xFFFFFFFF).to_bytes(4, "little")
    return data


def macs():
    """Return the MAC addresses of the station and of the access point, 6 bytes each."""
    import network

    wlan = network.WLAN
    return wlan(wlan.IF_STA).config("mac"), wlan(wlan.IF_AP).config("mac")


def join(hostname, ssid, key):
    """Start joining the Wi-Fi network *ssid*; return the station, a network.WLAN.

    The access point that a new board opens, with a key that everybody knows, is turned off. The
    chip keeps the last network in its own flash and joins it by itself, so nothing is written when
    *ssid* is that network; wifi.py gives the key again after a while.
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
