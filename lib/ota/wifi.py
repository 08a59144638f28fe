"""The Wi-Fi network: join it, join it again if that takes too long, and log what happens.

Loaded while there is no network, and when there is one again. RAM: about 400 bytes while loaded.
"""

from micropython import const
from utime import ticks_diff, ticks_ms

from . import log

# After this time without a network, the chip is told to join it again.
_JOIN_AGAIN_MS = const(30000)

# Values of network.WLAN.status() on this chip.
_WRONG_KEY = const(2)
_NO_SUCH_NETWORK = const(3)


def join(ota):
    """Begin to join the network of the settings of *ota* (`hostname`, `ssid`, `key`)."""
    from .hal import join as join_by_chip

    get = ota.settings.get
    ota.station = join_by_chip(get("hostname"), get("ssid"), get("key"))
    ota.is_connected = False
    ota.network_problem = None
    # When the chip was told to join again, or lost the network, in ticks; None: neither has been.
    ota.joined = None
    if not ota.station.isconnected():
        log.info("wifi: joining %s", _name(ota))


def look_after(ota, was_connected):
    """Log when the network of *ota* was joined or lost, and join it again when it is time."""
    now = ticks_ms()
    if ota.is_connected:
        ota.network_problem = None
        log.info("wifi: joined %s, address %s", _name(ota), ota.address)
        return
    if was_connected:
        ota.joined = now
        log.error("wifi: the network is lost")
    status = ota.station.status()
    if status != ota.network_problem and status in (_WRONG_KEY, _NO_SUCH_NETWORK):
        ota.network_problem = status
        problem = "the key is wrong" if status == _WRONG_KEY else "there is no such network"
        log.error("wifi: %s: %s", _name(ota), problem)
    get = ota.settings.get
    is_first = ota.joined is None
    if ticks_diff(now, ota.begun if is_first else ota.joined) > _JOIN_AGAIN_MS and get("ssid"):
        ota.joined = now
        ota.station.active(True)  # the application may have turned it off
        # The key may be a new one. The chip writes it to its own flash each time that it is given
        # it, so that later on it is told to use the one that it has.
        if is_first or ota.station.config("ssid") != get("ssid"):
            ota.station.connect(get("ssid"), get("key"))
        else:
            ota.station.connect()


def _name(ota):
    return ota.settings.get("ssid") or "the network that the chip knows"
