"""The chip's parts that end a test or do something by themselves: reset, watchdog, timer, Wi-Fi."""

import machine
import network
from own_address import OWN_IP  # noqa: F401 - read while there is a network


class Reset(BaseException):
    """The board restarts; nothing of the device code catches it."""


class Watchdog:
    """Never bites; `fed` counts."""

    fed = 0

    def feed(self):
        Watchdog.fed += 1


class Timer:
    """Never runs."""

    ONE_SHOT, PERIODIC = 0, 1

    def __init__(self, id):  # takes nothing else, as on the chip
        pass

    def init(self, **settings):
        pass


class Station:
    """A `network.WLAN`; `connected` is for the test to set, `joined` what `connect` was given."""

    IF_STA, IF_AP = 0, 1
    connected = True
    joined = []

    def __init__(self, interface):
        pass

    def active(self, on=None):
        return False

    def config(self, what):
        return None

    def connect(self, ssid, key):
        Station.joined.append((ssid, key))

    def isconnected(self):
        return Station.connected


def _reset():
    raise Reset


machine.reset = _reset
machine.WDT = Watchdog
machine.Timer = Timer
network.WLAN = Station
