"""The board's `network`: a station that joins the simulated access point a while after it is told
to.
"""

import control
import shared
import time
from micropython import const

STA_IF = 0
AP_IF = 1
STAT_IDLE = 0
STAT_CONNECTING = 1
STAT_WRONG_PASSWORD = 2
STAT_NO_AP_FOUND = 3
STAT_CONNECT_FAIL = 4
STAT_GOT_IP = 5
MODE_11B = 1
MODE_11G = 2
MODE_11N = 3
AUTH_OPEN = 0
AUTH_WEP = 1
AUTH_WPA_PSK = 2
AUTH_WPA2_PSK = 3
AUTH_WPA_WPA2_PSK = 4

# By control.NETWORK.
_BY_NETWORK = (STAT_NO_AP_FOUND, STAT_GOT_IP, STAT_WRONG_PASSWORD)
_RSSI = const(-60)

_connect_ns = 0  # when the station was last told to join, by the host's clock
_is_joining = True  # whether the time that this takes may not be over
_is_there = True  # whether there is the network that it was told to join


def hostname(name=None):
    if name is None:
        return shared.text(control.HOST_NAME)
    if not 0 < len(name) <= control.TEXT_LENGTH:
        raise ValueError
    shared.set_text(control.HOST_NAME, name)


class WLAN:
    IF_STA = 0
    IF_AP = 1
    SEC_OPEN = 0
    SEC_WEP = 1
    SEC_WPA = 2
    SEC_WPA2 = 3
    SEC_WPA_WPA2 = 4
    PM_NONE = 0
    PM_PERFORMANCE = 2
    PM_POWERSAVE = 1

    def __init__(self, interface=0):
        self._interface = interface
        self._active = control.ACTIVE // 4 + interface
        self._ssid = control.SSID + interface * control.TEXT_SIZE

    def active(self, on=None):
        if on is None:
            return shared.words[self._active] != 0
        shared.words[self._active] = 1 if on else 0

    def connect(self, ssid=None, key=None, *, bssid=None):
        global _connect_ns, _is_joining, _is_there
        _connect_ns = time.time_ns()
        _is_joining = True
        if ssid is not None:
            shared.set_text(self._ssid, ssid)
        _is_there = shared.text(control.NETWORK_NAME) in ("", shared.text(self._ssid))

    def disconnect(self):
        shared.set_text(self._ssid, "")

    def isconnected(self):
        return self.status() == STAT_GOT_IP

    def status(self, what=None):
        global _is_joining
        if what == "rssi":
            return _RSSI
        if what == "stations" and self._interface == AP_IF:
            return []
        if what is not None:
            raise ValueError("unknown status param")
        if self._interface != STA_IF:
            return -1
        # As on the chip, it takes no memory once the station has joined: the first character tells
        # whether there is a name.
        if not self.active() or not shared.page[control.SSID]:
            return STAT_IDLE
        words = shared.words
        if _is_joining:
            if (time.time_ns() - _connect_ns) // 1000000 < words[control.JOIN_MS // 4]:
                return STAT_CONNECTING
            _is_joining = False
        return _BY_NETWORK[words[control.NETWORK // 4]] if _is_there else STAT_NO_AP_FOUND

    def scan(self):
        if self._interface != STA_IF:
            raise OSError("STA required")
        if not self.active():
            raise OSError("STA must be active")
        if shared.words[control.NETWORK // 4] == control.OUT_OF_REACH:
            return []
        name = (shared.text(control.NETWORK_NAME) or "simulated").encode()
        return [(name, b"\x02mpota", 1, _RSSI, AUTH_WPA_WPA2_PSK, 0)]

    def ifconfig(self, settings=None):
        # The simulated network gives the board its address, whatever the program wants.
        if settings is not None:
            return None
        if self._interface == AP_IF:
            return ("192.168.4.1", "255.255.255.0", "192.168.4.1", "0.0.0.0")
        if not self.isconnected():
            return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
        return (shared.text(control.IP), "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def config(self, *what, **settings):
        if "ssid" in settings:
            shared.set_text(self._ssid, settings["ssid"])
        if "hostname" in settings:
            hostname(settings["hostname"])
        if not what:
            return None
        if what[0] == "mac":
            chip = bytes(reversed(bytes(shared.page[control.CHIP_ID : control.CHIP_ID + 3])))
            return (b"\x5e\xcf\x7f" if self._interface else b"\x5c\xcf\x7f") + chip
        if what[0] in ("ssid", "essid"):
            return shared.text(self._ssid)
        if what[0] == "hostname":
            return hostname()
        if what[0] == "channel":
            return 1
        if what[0] == "pm":
            return self.PM_PERFORMANCE
        if what[0] in ("security", "authmode") and self._interface == AP_IF:
            return AUTH_WPA_WPA2_PSK
        raise ValueError("unknown config param")


def phy_mode(mode=None):
    return MODE_11N if mode is None else None


def reset_radio():
    """Put the radio into the state that a board without a program has."""
    for interface in (STA_IF, AP_IF):
        shared.words[control.ACTIVE // 4 + interface] = interface
    shared.set_text(control.SSID, "")
    shared.set_text(control.SSID + control.TEXT_SIZE, "MicroPython-simulated")
    hostname("MPY-ESP8266")
