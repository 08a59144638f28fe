"""The part of the board's `network` that is used now and then."""

import control
import power
from micropython import const

_LONGEST = const(32)  # bytes of a network's name


def _set_text(at, text):
    raw = (text.encode() if isinstance(text, str) else text)[:_LONGEST]
    power.page[at : at + control.TEXT_SIZE] = raw + bytes(control.TEXT_SIZE - len(raw))


def hostname(name=None):
    if name is None:
        return power.text(control.HOST_NAME)
    if not 0 < len(name) <= _LONGEST:
        raise ValueError
    _set_text(control.HOST_NAME, name)


# Methods of WLAN.


def _active(wlan):
    return control.ACTIVE // 4 + wlan.interface


def _ssid(wlan):
    return control.SSID + wlan.interface * control.TEXT_SIZE


def active(wlan, on=None):
    if on is None:
        return power.words[_active(wlan)] != 0
    power.words[_active(wlan)] = 1 if on else 0


def connect(wlan, ssid=None, key=None, *, bssid=None):
    if ssid is not None:
        _set_text(_ssid(wlan), ssid)


def disconnect(wlan):
    _set_text(_ssid(wlan), "")


def status(wlan, what=None):
    if what == "rssi":
        return -60
    if wlan.isconnected():
        return 5
    return 1 if power.text(_ssid(wlan)) else 0


def ifconfig(wlan):
    if not wlan.isconnected():
        return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
    return (power.text(control.IP), "255.0.0.0", "127.0.0.1", "127.0.0.1")


def config(wlan, *what, **settings):
    if "ssid" in settings:
        _set_text(_ssid(wlan), settings["ssid"])
    if not what:
        return None
    if what[0] == "mac":
        chip = bytes(reversed(bytes(power.page[control.CHIP_ID : control.CHIP_ID + 3])))
        return (b"\x5e\xcf\x7f" if wlan.interface else b"\x5c\xcf\x7f") + chip
    if what[0] in ("ssid", "essid"):
        return power.text(_ssid(wlan))
    if what[0] == "hostname":
        return hostname()
    raise ValueError("unknown config param")


def reset():
    """Put the radio into the state that a board without a program has."""
    for interface in (0, 1):
        power.words[control.ACTIVE // 4 + interface] = interface
    _set_text(control.SSID, "")
    _set_text(control.SSID + control.TEXT_SIZE, "MicroPython-simulated")
    _set_text(control.HOST_NAME, "MPY-ESP8266")
