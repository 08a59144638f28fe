"""The work of `OTA.begin`; this module is unloaded afterwards."""

import sys

from micropython import const
from utime import ticks_ms

from . import hal, log, slots, wifi
from .arduino import ArduinoOTA
from .errors import OTAError

_PULL = const(3)  # restart.PULL, whose name is not loaded for this

_OF_A_PULL = const("pull.body pull.download pull.failure pull.headers pull.request pull.session ")
_OF_HAWKBIT = const("ddi ddi.talk ")
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
    if ota.trial and not ota.watchdog:  # an earlier begin() that failed may have made a watchdog
        from .watchdog import Watchdog

        ota.watchdog = Watchdog(ota)
        guard = sys.modules.pop("ota_guard", None)
        if guard:  # a timer that boot.py in the system ROM has started: see there
            guard.deinit()
    given = get("hostname")
    ota.settings["hostname"] = _host_name(given) or "esp8266-" + hal.chip_id()
    if given and given != get("hostname"):
        log.error('"%s" is no host name: %s is used', given, get("hostname"))
    is_for_page = is_for_pull = False
    if what == hal.ALONE:
        from .restart import PAGE, take

        ota.is_alone = True
        ota.kept = take()
        if ota.kept:
            is_for_page = ota.kept[0] == PAGE
            is_for_pull = ota.kept[0] == _PULL
    # Modules that may be needed in a full heap are loaded once, for their names: the interpreter's
    # table of names grows in steps of kilobytes, and keeps its names. md5 is loaded for the same
    # reason. They are loaded one after the other, since they may not fit together.
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
    # The attributes that handle() changes are made now: later there may be no memory for them. They
    # are times in ticks: of this call, of the last trouble, of the last handle(); the time up to
    # which `uptime_s` counts the seconds, since ticks start again too soon; and when the last error
    # is logged again, and after how many milliseconds the next time.
    ota.begun = ota.since = ota.last = ota.counted = ota.say_again = ticks_ms()
    ota.uptime_s = ota.pause_ms = 0
    ota.error = None
    arduino = ArduinoOTA(ota)
    arduino.is_off = is_for_page
    # Services that the program has made before are kept, but no listener of a begin() that failed.
    others = [service for service in ota.services if not isinstance(service, ArduinoOTA)]
    ota.services = [arduino] + others
    # In a boot that only asks a server, nobody looks for the board, and the heap is needed.
    has_mdns = get("mdns", True) and not is_for_pull
    if ota.mdns is None and has_mdns and _is_there("mdns"):
        from .mdns import Mdns

        ota.mdns = Mdns(ota, _about(ota.slot))
        ota.services.append(ota.mdns)
    if has_page:
        ota.web.is_off = False
    ota.arduino = arduino  # set last: begin() does nothing when this is set
    if has_pull:
        ota.pull  # noqa: B018 - makes it


def _is_there(service):
    # A release may bring this package without the services that its application does not need.
    try:
        __import__("ota." + service)
        return True
    except ImportError as e:
        log.error("begin: no %s: %s", service, e)
        return False


def _host_name(given):
    # Replaces characters that host names cannot have by hyphens, and removes hyphens at the ends
    # (RFC 952, RFC 1123). The network limits the length as well; the setting's limit is lower.
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
