"""The update services without the application: for a while, then the board restarts."""

from micropython import const
from utime import sleep_ms

from . import log
from .clock import after, is_past
from .hal import reset

# How long the services run without the application before the board restarts: after an error of the
# application, and for one update that needs its memory.
_SERVICES_MS = const(300000)
_ALONE_MS = const(60000)
# If there was no network, the application is tried again this long after the network has come.
_JOINED_MS = const(60000)
# For `confirm_s`: longer than the services ever run without the application.
_NEVER_S = const(1000000)


def serve(services):
    """Serve updates with *services*, an OTA, for a while, and restart; a running update may end."""
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
            # The application may have failed only because there was no network.
            was_offline = False
            deadline = after(_JOINED_MS)
    if services.kept:
        from .restart import note

        missing = "upload" if services.is_connected else "network"
        note("failed: no %s for %d s" % (missing, ms // 1000))
    reset()
