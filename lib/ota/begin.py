"""What `OTA.begin` does; forgotten after it."""

import sys
import time

from . import hal, record
from .espota import ArduinoOTA


def begin(ota):
    """Set up *ota*: its trial, its watchdog, its Wi-Fi station, its listener, its clocks."""
    get = ota.settings.get
    # Still loaded where a program keeps its own main.py: then the slot is put first here, but for a
    # package of its own in the place of this one, which is at work.
    boot = sys.modules.get("ota.boot")
    if boot and boot.slot:
        boot.put_on_path(boot.slot)
    boot_record = record.load()
    # Another version may be on trial than the one that runs, if boot could not note that it takes
    # it back, or what it tries: then it must not be confirmed.
    trial = boot_record and boot_record.trial
    if trial and "/.ota/" + trial in sys.path and not ota.watchdog:  # there is one for good
        from .watchdog import Watchdog

        ota.trial = True
        ota.watchdog = Watchdog(ota)
    if not get("hostname"):
        ota.settings["hostname"] = "esp8266-" + hal.chip_id()
    ota.station = hal.join(get("hostname"), get("ssid"), get("key"))
    ota.arduino = ArduinoOTA(ota)
    ota.joined = ota.begun = ota.since = ota.last = time.ticks_ms()
