"""An application that notes how much heap is in use, idle and at the peak of an update."""

import gc
import time


def main(ota):
    most = [0]

    def look(*_):
        gc.collect()
        most[0] = max(most[0], gc.mem_alloc())

    ota.on_progress(look)
    ota.on_end(lambda: print("peak", most[0]))
    begun = time.ticks_ms()
    said = False
    while True:
        ota.handle()
        if ota.is_updating:
            look()
        elif not said and time.ticks_diff(time.ticks_ms(), begun) > 500:
            said = True
            gc.collect()
            print("idle", gc.mem_alloc())
