"""The update services without the application: for a while, then the board restarts."""

from micropython import const
from utime import sleep_ms

from . import log
from .clock import after, is_past
from .hal import reset

# How long the services run without the application before the board restarts; and where that was
# asked for, for one update.
_SERVICES_MS = const(300000)
_ALONE_MS = const(60000)
# Where there was no network, the application gets its next try this long after there is one.
_JOINED_MS = const(60000)
# For `confirm_s`: longer than the services ever run without the application.
_NEVER_S = const(1000000)


def serve(services):
    """Serve updates with *services*, an OTA, and restart; an update that goes on is waited for."""
    # Services without the application are no healthy boot, and confirm nothing.
    services.settings["confirm_s"] = _NEVER_S
    ms = _ALONE_MS if services.is_alone else _SERVICES_MS
    log.info("start: the services run alone for %d s", ms // 1000)
    deadline = after(ms)
    was_offline = not services.is_connected
    while services.is_updating or not is_past(deadline):
        if not services.handle():
            sleep_ms(10)
        if was_offline and services.is_connected:
            # What was wrong with the application may have been that there was no network.
            was_offline = False
            deadline = after(_JOINED_MS)
    if services.kept:
        from .restart import note

        missing = "upload" if services.is_connected else "network"
        note("failed: no %s for %d s" % (missing, ms // 1000))
    reset()
