"""Run the application of a slot, with the update services beside it; stays in memory meanwhile."""

import gc
import sys
import time

from micropython import const

# How long the services run without the application before the board restarts.
_SERVICES_MS = const(300000)
# For `confirm_s`: longer than that.
_NEVER_S = const(1000000)


def run():
    """Run `main(ota)` of the application that boot chose, or the services alone; never return."""
    from .boot import put_first, slot

    if slot is not None:
        put_first(slot)
    put_first = None  # so that nothing of boot stays in memory
    import ota

    ota.forget_modules()
    services = ota.OTA()
    services.begin()
    try:
        if slot is not None:
            _run_application(services)
            _serve(services, None)
    except (Exception, SystemExit) as e:
        sys.print_exception(e)
        services.reject()  # in a trial: does not return
    gc.collect()
    # Services without the application are no healthy boot, and confirm nothing.
    services.settings["confirm_s"] = _NEVER_S
    _serve(services, _SERVICES_MS)
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
        except asyncio.CancelledError:  # which is none of the Exceptions
            raise RuntimeError("main was cancelled")


def _serve(services, ms):
    begun = time.ticks_ms()
    while ms is None or services.is_updating or time.ticks_diff(time.ticks_ms(), begun) < ms:
        if not services.handle():
            time.sleep_ms(10)
