"""An application that notes how much heap is in use: idle, at the peak of an update, and when the
arithmetic of a signature begins, which is one step.
"""

import gc
import sys
import time


def main(ota):
    most = [0]

    def look(*_):
        gc.collect()
        most[0] = max(most[0], gc.mem_alloc())

    def note_the_arithmetic():
        signature = sys.modules.get("ota.updater.signature")
        if signature:
            verify = signature.verify

            def noting(*arguments):
                gc.collect()
                print("before the arithmetic", gc.mem_alloc())
                verify(*arguments)

            signature.verify = noting

    ota.on_start(note_the_arithmetic)
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
