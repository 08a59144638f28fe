"""Run the application of a slot, with the update services beside it; stays in memory meanwhile."""

import gc
import sys

from micropython import const
from utime import sleep_ms

from . import OTA, hal
from .clock import after, is_past

# How long the services run without the application before the board restarts.
_SERVICES_MS = const(300000)
# For `confirm_s`: longer than that.
_NEVER_S = const(1000000)


def run():
    """Run `main(ota)` of the application that boot chose, or the services alone; never return."""
    services = OTA()
    services.begin()
    try:
        if services.slot:
            _run_application(services)
            _serve(services, None)
    except (Exception, SystemExit) as e:
        sys.print_exception(e)
        services.reject()  # in a trial: does not return
    gc.collect()
    # Services without the application are no healthy boot, and confirm nothing.
    services.settings["confirm_s"] = _NEVER_S
    _serve(services, after(_SERVICES_MS))
    hal.reset()


def _run_application(services):
    from app import main

    gc.collect()
    running = main(services)
    if hasattr(running, "send"):  # what an async function returns
        import asyncio

        asyncio.create_task(services.run())
        try:
            asyncio.run(running)
        except asyncio.CancelledError:  # which is none of the Exceptions
            raise RuntimeError("main was cancelled")


def _serve(services, deadline):
    # For ever without a *deadline*; one is put off while an update goes on.
    while deadline is None or services.is_updating or not is_past(deadline):
        if not services.handle():
            sleep_ms(10)
