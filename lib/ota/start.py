"""Run the application of a slot beside the update services; stays in memory all the time."""

import gc

from utime import sleep_ms

from . import OTA, log


def run():
    """Run `main(ota)` of the application that boot chose, or the services alone; never return."""
    services = OTA()
    services.begin()
    try:
        if services.slot:
            _run_application(services)
            while True:
                if not services.handle():
                    sleep_ms(10)
    except (Exception, SystemExit) as e:
        # Done first, since values that it leaves on the stack could keep objects of later calls
        # alive.
        gc.collect()
        log.trace(e)
        # In a trial this does not return.
        services.reject("raised %s: %s" % (type(e).__name__, e))
        log.error("start: the application has ended; the services go on without it")
        services.has_ended = True
    gc.collect()
    from .alone import serve

    serve(services)


def _run_application(services):
    from app import main

    gc.collect()
    running = main(services)
    if hasattr(running, "send"):  # what an async function returns
        import asyncio

        asyncio.create_task(services.run())
        try:
            asyncio.run(running)
        except asyncio.CancelledError:  # CancelledError is not a subclass of Exception.
            raise RuntimeError("main was cancelled")
        # The tasks that it started have ended with it: there is no application any more.
        raise RuntimeError("the async main has returned")
