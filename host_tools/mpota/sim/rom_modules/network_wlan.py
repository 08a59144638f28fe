"""The part of the board's `network` that is used now and then."""

import control
import network
import power


def hostname(name=None):
    if name is None:
        return network.name
    if not 0 < len(name) <= 32:
        raise ValueError
    network.name = name


# Methods of WLAN.


def active(wlan, on=None):
    if on is None:
        return wlan.state[1]
    wlan.state[1] = bool(on)


def connect(wlan, ssid=None, key=None, *, bssid=None):
    if ssid is not None:
        wlan.state[2] = ssid


def disconnect(wlan):
    wlan.state[2] = ""


def status(wlan, what=None):
    if what == "rssi":
        return -60
    if wlan.isconnected():
        return 5
    return 1 if wlan.state[2] else 0


def ifconfig(wlan):
    if not wlan.isconnected():
        return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
    return (network.ip(), "255.0.0.0", "127.0.0.1", "127.0.0.1")


def config(wlan, *what, **settings):
    if "ssid" in settings:
        wlan.state[2] = settings["ssid"]
    if not what:
        return None
    if what[0] == "mac":
        chip = bytes(reversed(bytes(power.page[control.CHIP_ID : control.CHIP_ID + 3])))
        return (b"\x5e\xcf\x7f" if wlan.state[0] else b"\x5c\xcf\x7f") + chip
    if what[0] in ("ssid", "essid"):
        return wlan.state[2]
    if what[0] == "hostname":
        return hostname()
    raise ValueError("unknown config param")
