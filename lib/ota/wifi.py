"""The Wi-Fi station: joining the network, and telling the log what becomes of it. RAM: about 400
bytes.
"""

from micropython import const
from utime import ticks_diff, ticks_ms

from . import log

# After this long without a network, its key is given to the chip again: it may have changed.
_JOIN_AGAIN_MS = const(30000)

# Values of network.WLAN.status() on this chip.
_WRONG_KEY = const(2)
_NO_SUCH_NETWORK = const(3)


class Wifi:
    """Joins the network of *settings* (`hostname`, `ssid`, `key`), and joins it again."""

    is_connected = False
    _problem = None  # what was said last of why there is no network

    def __init__(self, settings):
        from .hal import join

        self._settings = settings
        self._station = join(settings["hostname"], settings.get("ssid"), settings.get("key"))
        self._joined = ticks_ms()  # when there was a network last, or its key was given
        if not self._station.isconnected():
            log.info("wifi: joining %s", self._name())

    def check(self):
        """Look after the network, and return whether there is one."""
        station = self._station
        now = ticks_ms()
        if station.isconnected():
            self._joined = now
            self._problem = None
            if not self.is_connected:
                self.is_connected = True
                log.info("wifi: joined %s, address %s", self._name(), self.address)
            return True
        if self.is_connected:
            self.is_connected = False
            log.error("wifi: the network is lost")
        status = station.status()
        if status != self._problem and status in (_WRONG_KEY, _NO_SUCH_NETWORK):
            self._problem = status
            log.error(
                "wifi: %s: %s",
                self._name(),
                "the key is wrong" if status == _WRONG_KEY else "there is no such network",
            )
        get = self._settings.get
        if ticks_diff(now, self._joined) > _JOIN_AGAIN_MS and get("ssid"):
            self._joined = now
            station.active(True)  # the application may have turned it off
            station.connect(get("ssid"), get("key"))
        return False

    @property
    def address(self):
        """The board's IP address, as text."""
        return self._station.ifconfig()[0]

    @property
    def rssi(self):
        """The strength of the network's signal, in dBm."""
        return self._station.status("rssi")

    def _name(self):
        return self._settings.get("ssid") or "the network that the chip knows"
