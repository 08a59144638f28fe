"""Stubs for parts of the chip that would end a test or act by themselves: reset, timer, Wi-Fi."""

import machine
import network
from own_address import OWN_IP  # read while there is a network


class Reset(BaseException):
    """The board restarts; the device code does not catch this exception."""


class Timer:
    """Never calls its function; `is_running` is between init() and deinit()."""

    ONE_SHOT, PERIODIC = 0, 1
    is_running = False

    def __init__(self, id):  # takes nothing else, as on the chip
        pass

    def init(self, **settings):
        self.is_running = True

    def deinit(self):
        self.is_running = False


class Station:
    """A `network.WLAN`; `joined` is what `connect` was given, the rest is for the test to set."""

    IF_STA, IF_AP = 0, 1
    connected = True
    ssid = None  # the network that the chip knows
    code = 1  # what `status` tells: it is connecting
    is_access_point_on = False
    joined = []

    def __init__(self, interface):
        self._interface = interface

    def active(self, on=None):
        if on is not None and self._interface == Station.IF_AP:
            Station.is_access_point_on = on
        return self._interface == Station.IF_AP and Station.is_access_point_on

    def config(self, what):
        return Station.ssid

    def status(self):
        return Station.code

    def ifconfig(self):
        return (OWN_IP, "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def connect(self, ssid=None, key=None):
        Station.joined.append((ssid, key))

    def isconnected(self):
        return Station.connected


def _reset():
    raise Reset


machine.reset = _reset
machine.Timer = Timer
network.WLAN = Station
