"""What `OTA.begin` does; given back after it."""

from utime import ticks_ms

from . import hal
from .arduino import ArduinoOTA
from .wifi import Wifi


def begin(ota):
    """Set up *ota*: its trial, its watchdog, its Wi-Fi station, its listener, its clocks."""
    get = ota.settings.get
    ota.slot, is_trial = hal.running()
    if is_trial and not ota.watchdog:  # a started watchdog cannot be stopped
        from .watchdog import Watchdog

        ota.trial = True
        ota.watchdog = Watchdog(ota)
    if not get("hostname"):
        ota.settings["hostname"] = "esp8266-" + hal.chip_id()
    ota.is_alone = hal.is_alone()
    if ota.is_alone:
        from .restart import take

        ota.kept = take()
    ota.wifi = Wifi(ota.settings)
    ota.arduino = ArduinoOTA(ota)
    ota.begun = ota.since = ota.last = ticks_ms()
