"""Water a garden for a while, every now and then. A plain loop that calls ota.handle()."""

import time

from machine import Pin

_PERIOD_MS = 6000
_OPEN_MS = 2000


def main(ota):
    valve = Pin(5, Pin.OUT, value=0)  # 1: open

    @ota.on_start
    def shut():
        # Before the first byte of an update is written. If this raised, there would be no update.
        valve.off()
        print("garden: valve shut for the update")

    @ota.on_error
    def resume(code):
        print("garden: update failed, code", code, "- watering goes on")

    print("garden 1.0.0: watering every", _PERIOD_MS // 1000, "s")
    while True:
        ota.handle()
        if not ota.is_updating:
            valve.value(time.ticks_ms() % _PERIOD_MS < _OPEN_MS)
        time.sleep_ms(5)
