"""The board's `network`: a station that joins the simulated access point at once."""

import control
import power


class WLAN:
    IF_STA = 0
    IF_AP = 1
    PM_NONE = 0

    def __init__(self, interface=0):
        self.interface = interface

    def isconnected(self):
        words = power.words
        may_join = words[control.ACTIVE // 4] and power.page[control.SSID]
        return self.interface == 0 and may_join != 0 and words[control.NETWORK // 4] == 1

    def __getattr__(self, name):
        method = power.load("network_wlan", name)
        return lambda *args, **settings: method(self, *args, **settings)


def __getattr__(name):
    return power.look_up(
        " hostname=network_wlan STA_IF=0 AP_IF=1 STAT_IDLE=0 STAT_CONNECTING=1 STAT_GOT_IP=5"
        " AUTH_OPEN=0 AUTH_WPA_WPA2_PSK=4 ",
        name,
    )
