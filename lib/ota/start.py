"""Run the application of a slot, with the update services beside it; stays in memory meanwhile."""

import gc
import sys

from micropython import const
from utime import sleep_ms

from . import OTA, log
from .clock import after, is_past

# How long the services run without the application before the board restarts; and where that was
# asked for, for one update.
_SERVICES_MS = const(300000)
_ALONE_MS = const(60000)
# Where there was no network, the application gets its next try this long after there is one.
_JOINED_MS = const(60000)
# For `confirm_s`: longer than the services ever run without the application.
_NEVER_S = const(1000000)


def run():
    """Run `main(ota)` of the application that boot chose, or the services alone; never return."""
    services = OTA()
    services.begin()
    try:
        if services.slot:
            _run_application(services)
            while True:
                _step(services)
    except (Exception, SystemExit) as e:
        # Now, since what it leaves on the stack would keep its objects alive in the calls below.
        gc.collect()
        sys.print_exception(e)
        # In a trial this does not return.
        services.reject("raised %s: %s" % (type(e).__name__, e))
        log.error("start: the application has ended; the services go on without it")
    gc.collect()
    # Services without the application are no healthy boot, and confirm nothing.
    services.settings["confirm_s"] = _NEVER_S
    ms = _ALONE_MS if services.is_alone else _SERVICES_MS
    log.info("start: the services run alone for %d s", ms // 1000)
    _serve_alone(services, after(ms))
    if services.kept:
        from .restart import note

        note("failed: no network for %d s" % (ms // 1000))
    from .hal import reset

    reset()


def _run_application(services):
    from app import main

    gc.collect()
    running = main(services)
    if hasattr(running, "send"):  # what an async function returns
        import asyncio

        asyncio.create_task(services.run())
        try:
            asyncio.run(running)
        except asyncio.CancelledError:  # It is no subclass of Exception.
            raise RuntimeError("main was cancelled")


def _serve_alone(services, deadline):
    # Until the *deadline*, which is put off while an update goes on.
    was_offline = not services.wifi.is_connected
    while services.is_updating or not is_past(deadline):
        _step(services)
        if was_offline and services.wifi.is_connected:
            # What was wrong with the application may have been that there was no network.
            was_offline = False
            deadline = after(_JOINED_MS)


def _step(services):
    if not services.handle():
        sleep_ms(10)
