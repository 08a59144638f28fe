"""The board's own address, at which a test can be the board's host as well."""

import network

_station = network.WLAN(network.WLAN.IF_STA)
_station.active(True)
_station.connect("simulated", "")

OWN_IP = _station.ifconfig()[0]
