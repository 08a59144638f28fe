"""The board's `network`: a station that joins the simulated access point at once."""

import control
import power

STA_IF = 0
AP_IF = 1
STAT_IDLE = 0
STAT_CONNECTING = 1
STAT_GOT_IP = 5
AUTH_OPEN = 0
AUTH_WPA_WPA2_PSK = 4

_hostname = "MPY-ESP8266"
_states = ({"active": False, "ssid": ""}, {"active": True, "ssid": "MicroPython-simulated"})


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname
    if not 0 < len(name) <= 32:
        raise ValueError
    _hostname = name


class WLAN:
    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE = 0

    def __init__(self, interface=STA_IF):
        self._interface = interface
        self._state = _states[interface]

    def active(self, on=None):
        if on is None:
            return self._state["active"]
        self._state["active"] = bool(on)

    def connect(self, ssid=None, key=None, *, bssid=None):
        if ssid is not None:
            self._state["ssid"] = ssid

    def disconnect(self):
        self._state["ssid"] = ""

    def isconnected(self):
        state = self._state
        if self._interface == AP_IF or not state["active"] or not state["ssid"]:
            return False
        return power.word(control.NETWORK) == 1

    def status(self, what=None):
        if what == "rssi":
            return -60
        if self.isconnected():
            return STAT_GOT_IP
        return STAT_CONNECTING if self._state["ssid"] else STAT_IDLE

    def ifconfig(self):
        if not self.isconnected():
            return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
        return (_ip(), "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def config(self, *what, **settings):
        if "ssid" in settings:
            self._state["ssid"] = settings["ssid"]
        if not what:
            return None
        if what[0] == "mac":
            chip = bytes(reversed(bytes(power.page()[control.CHIP_ID : control.CHIP_ID + 3])))
            return (b"\x5e\xcf\x7f" if self._interface == AP_IF else b"\x5c\xcf\x7f") + chip
        if what[0] in ("ssid", "essid"):
            return self._state["ssid"]
        if what[0] == "hostname":
            return hostname()
        raise ValueError("unknown config param")


def _ip():
    raw = bytes(power.page()[control.IP : control.IP + 16])
    return raw[: raw.find(b"\0")].decode()
