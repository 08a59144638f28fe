"""The board's `network`: a station that joins the simulated access point a while after it is told
to.
"""

import control
import shared
import time

STA_IF = 0
AP_IF = 1
STAT_IDLE = 0
STAT_CONNECTING = 1
STAT_WRONG_PASSWORD = 2
STAT_NO_AP_FOUND = 3
STAT_GOT_IP = 5
AUTH_OPEN = 0
AUTH_WPA_WPA2_PSK = 4

# By control.NETWORK.
_BY_NETWORK = (STAT_NO_AP_FOUND, STAT_GOT_IP, STAT_WRONG_PASSWORD)

_connect_ms = 0  # when the station was last told to join, in ticks


def hostname(name=None):
    if name is None:
        return shared.text(control.HOST_NAME)
    if not 0 < len(name) <= control.TEXT_LENGTH:
        raise ValueError
    shared.set_text(control.HOST_NAME, name)


class WLAN:
    IF_STA = 0
    IF_AP = 1
    PM_NONE = 0

    def __init__(self, interface=0):
        self._interface = interface
        self._active = control.ACTIVE // 4 + interface
        self._ssid = control.SSID + interface * control.TEXT_SIZE

    def active(self, on=None):
        if on is None:
            return shared.words[self._active] != 0
        shared.words[self._active] = 1 if on else 0

    def connect(self, ssid=None, key=None, *, bssid=None):
        global _connect_ms
        _connect_ms = time.ticks_ms()
        if ssid is not None:
            shared.set_text(self._ssid, ssid)

    def disconnect(self):
        shared.set_text(self._ssid, "")

    def isconnected(self):
        return self.status() == STAT_GOT_IP

    def status(self, what=None):
        if what == "rssi":
            return -60
        # As on the chip, it takes no memory: the first character tells whether there is a name.
        if self._interface != STA_IF or not self.active() or not shared.page[control.SSID]:
            return STAT_IDLE
        words = shared.words
        if time.ticks_diff(time.ticks_ms(), _connect_ms) < words[control.JOIN_MS // 4]:
            return STAT_CONNECTING
        return _BY_NETWORK[words[control.NETWORK // 4]]

    def ifconfig(self):
        if not self.isconnected():
            return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
        return (shared.text(control.IP), "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def config(self, *what, **settings):
        if "ssid" in settings:
            shared.set_text(self._ssid, settings["ssid"])
        if not what:
            return None
        if what[0] == "mac":
            chip = bytes(reversed(bytes(shared.page[control.CHIP_ID : control.CHIP_ID + 3])))
            return (b"\x5e\xcf\x7f" if self._interface else b"\x5c\xcf\x7f") + chip
        if what[0] in ("ssid", "essid"):
            return shared.text(self._ssid)
        if what[0] == "hostname":
            return hostname()
        raise ValueError("unknown config param")


def reset_radio():
    """Put the radio into the state that a board without a program has."""
    for interface in (STA_IF, AP_IF):
        shared.words[control.ACTIVE // 4 + interface] = interface
    shared.set_text(control.SSID, "")
    shared.set_text(control.SSID + control.TEXT_SIZE, "MicroPython-simulated")
    hostname("MPY-ESP8266")
