"""The board's `network`: a station that joins the simulated access point at once."""

import control
import power

_OTHERS = (
    " hostname=network_wlan STA_IF=0 AP_IF=1 STAT_IDLE=0 STAT_CONNECTING=1 STAT_GOT_IP=5"
    " AUTH_OPEN=0 AUTH_WPA_WPA2_PSK=4 "
)

name = "MPY-ESP8266"
# Whether it is the access point, whether it is active, the network's name.
_states = ([False, False, ""], [True, True, "MicroPython-simulated"])


class WLAN:
    IF_STA = 0
    IF_AP = 1
    PM_NONE = 0

    def __init__(self, interface=0):
        self.state = _states[interface]

    def isconnected(self):
        is_ap, active, ssid = self.state
        return not is_ap and active and ssid != "" and power.words[control.NETWORK // 4] == 1

    def __getattr__(self, name):
        method = power.load("network_wlan", name)
        return lambda *args, **settings: method(self, *args, **settings)


def __getattr__(name):
    return power.look_up(_OTHERS, name)


def ip():
    raw = bytes(power.page[control.IP : control.IP + 16])
    return raw[: raw.find(b"\0")].decode()
