"""What `OTA.begin` does; its memory is given back afterwards."""

import sys

from utime import ticks_ms

from . import hal
from .arduino import ArduinoOTA
from .wifi import Wifi


def begin(ota):
    """Set up *ota*: its trial, its watchdog, its Wi-Fi station, its listener, its clocks."""
    get = ota.settings.get
    _, what = hal.get_state()
    if what in "abAB":
        ota.slot = what.lower()
    if what in "AB" and not ota.watchdog:  # there is one already where begin() failed half-way
        from .watchdog import Watchdog

        ota.trial = True
        ota.watchdog = Watchdog(ota)
        guard = sys.modules.pop("ota_guard", None)
        if guard:  # boot.py of the system ROM has started it, see there
            guard.deinit()
    if not get("hostname"):
        ota.settings["hostname"] = "esp8266-" + hal.chip_id()
    is_for_page = False
    if what == hal.ALONE:
        from .restart import PAGE, take

        ota.is_alone = True
        ota.kept = take()
        is_for_page = bool(ota.kept) and ota.kept[0] == PAGE
    _load_names(ota)
    ota.wifi = Wifi(ota.settings)
    # What handle() changes gets its place now: there may be no memory for that later. In ticks: when
    # this was done, when there was trouble last, when handle() was called last; up to when the
    # seconds are counted in `uptime_s`, since ticks come round too soon; when the last error is
    # said again, and after how many milliseconds once more.
    ota.begun = ota.since = ota.last = ota.counted = ota.say_again = ticks_ms()
    ota.uptime_s = ota.pause_ms = 0
    ota.error = None
    arduino = ArduinoOTA(ota)
    arduino.is_off = is_for_page
    ota.services = [service for service in (arduino, ota.own_web, ota.own_pull) if service]
    if is_for_page or get("web") and not ota.is_alone:
        ota.web.is_off = False
    ota.arduino = arduino  # at the end: begin() does nothing more where it is there
    if get("update_url"):
        ota.pull  # noqa: B018 - makes it


def _load_names(ota):
    # Loads what may be needed in a full heap, for its names: the interpreter's table of names grows
    # in steps of kilobytes, and what is in it stays.
    from . import trial  # noqa: F401

    if ota.has_password():
        from . import restart  # noqa: F401
        from .arduino import auth  # noqa: F401

        if ota.settings.get("auth", "classic") == "classic":
            from . import md5  # noqa: F401 - which stays once it is loaded
    if ota.settings.get("update_url"):
        from .pull import download, failure, headers, request, session  # noqa: F401
