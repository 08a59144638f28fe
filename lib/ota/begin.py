"""What `OTA.begin` does; its memory is given back afterwards."""

import sys

from micropython import const
from utime import ticks_ms

from . import hal, log, slots, wifi
from .arduino import ArduinoOTA
from .errors import OTAError

_OF_A_PULL = const("pull.download pull.failure pull.headers pull.request pull.session ")
_OF_HAWKBIT = const("ddi.act ddi.talk ddi.scan ")
_OF_THE_PAGE = const(
    "web.connection web.request web.auth web.credentials web.answers "
    "web.report web.act web.restart status "
)


def begin(ota):
    """Set up *ota*: its trial, its watchdog, its Wi-Fi station, its listener, its clocks."""
    get = ota.settings.get
    _, what = hal.get_state()
    if what.lower() in "ab":
        ota.slot = what.lower()
        ota.trial = what != ota.slot
    if ota.trial and not ota.watchdog:  # there is one already where begin() failed half-way
        from .watchdog import Watchdog

        ota.watchdog = Watchdog(ota)
        guard = sys.modules.pop("ota_guard", None)
        if guard:  # boot.py of the system ROM has started it, see there
            guard.deinit()
    given = get("hostname")
    ota.settings["hostname"] = _host_name(given) or "esp8266-" + hal.chip_id()
    if given and given != get("hostname"):
        log.error('"%s" is no host name: %s is used', given, get("hostname"))
    is_for_page = False
    if what == hal.ALONE:
        from .restart import PAGE, take

        ota.is_alone = True
        ota.kept = take()
        is_for_page = bool(ota.kept) and ota.kept[0] == PAGE
    # What may be needed in a full heap is loaded once, for its names: the interpreter's table of
    # names grows in steps of kilobytes, and what is in it stays. So does md5. One after the other:
    # together they may have no room.
    modules = "trial "
    if ota.has_password():
        modules += "restart arduino.auth "
        if get("auth", "classic") == "classic":
            modules += "md5 "
    has_page = (is_for_page or get("web") and not ota.is_alone) and _is_there("web")
    if has_page and ota.has_password():
        modules += _OF_THE_PAGE
    if get("ddi_url") and not _is_there("ddi"):
        del ota.settings["ddi_url"]
    has_pull = bool(get("ddi_url") or get("update_url")) and _is_there("pull")
    if has_pull:
        modules += _OF_A_PULL
    if get("ddi_url"):
        modules += _OF_HAWKBIT
    for module in modules.split():
        __import__("ota." + module)
        ota.unload()
    wifi.join(ota)
    if get("log_host") and not log.sender:
        from .log_host import begin as send_log

        send_log(get("log_host"))
    # What handle() changes gets its place now: there may be no memory for that later. In ticks:
    # when this was done, when there was trouble last, when handle() was called last; up to when
    # the seconds are counted in `uptime_s`, since ticks come round too soon; when the last error
    # is said again, and after how many milliseconds once more.
    ota.begun = ota.since = ota.last = ota.counted = ota.say_again = ticks_ms()
    ota.uptime_s = ota.pause_ms = 0
    ota.error = None
    arduino = ArduinoOTA(ota)
    arduino.is_off = is_for_page
    # Those that the program has made before; and no listener of a begin() that failed half-way.
    others = [service for service in ota.services if not isinstance(service, ArduinoOTA)]
    ota.services = [arduino] + others
    if ota.mdns is None and get("mdns", True) and _is_there("mdns"):
        from .mdns import Mdns

        ota.mdns = Mdns(ota, _about(ota.slot))
        ota.services.append(ota.mdns)
    if has_page:
        ota.web.is_off = False
    ota.arduino = arduino  # at the end: begin() does nothing more where it is there
    if has_pull:
        ota.pull  # noqa: B018 - makes it


def _is_there(service):
    # A release may bring this package without services that its application does not need.
    try:
        __import__("ota." + service)
        return True
    except ImportError as e:
        log.error("begin: no %s: %s", service, e)
        return False


def _host_name(given):
    # Returns *given* with a hyphen for each character that host names do not have, and none at its
    # ends (RFC 952, RFC 1123). The network also limits their length: the setting has less.
    name = bytearray((given or "").encode())
    for i in range(len(name)):
        if not (48 <= name[i] < 58 or 97 <= name[i] | 32 < 123):
            name[i] = 45
    return bytes(name).strip(b"-").decode()


def _about(slot):
    # Returns the application's name and version, as two strings of a TXT record, each behind its
    # length. No value may have an "=" in it, or the Arduino IDE ignores it.
    if slot is None:
        return b""
    try:
        manifest = slots.manifest_of(slot)
        texts = ["app=" + manifest["name"], "version=" + manifest["version"].replace("=", "-")]
    except (OTAError, OSError) as e:
        log.error("mdns: %s", e)
        return b""
    return b"".join([bytes([len(text)]) + text.encode() for text in texts])
