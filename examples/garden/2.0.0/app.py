"""Water a garden by a schedule. An async application: the update services run beside it."""

import asyncio
import time

from machine import Pin
from schedule import Schedule


async def main(ota):
    valve = Pin(5, Pin.OUT, value=0)  # 1: open
    schedule = Schedule(period_ms=6000, open_ms=1000)

    @ota.on_start
    def shut():
        # Before the first byte of an update is written. If this raised, there would be no update.
        valve.off()
        print("garden: valve shut for the update")

    @ota.on_error
    def resume(code):
        print("garden: update failed, code", code, "- watering goes on")

    print("garden 2.0.0: watering by schedule")
    while True:
        if not ota.is_updating:
            valve.value(schedule.is_open(time.ticks_ms()))
        await asyncio.sleep_ms(50)
