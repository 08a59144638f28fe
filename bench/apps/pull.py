"""An application that asks a server again and again: it notes how much heap is in use when idle,
at the peak of a question, and of the update that comes of it; or how long that takes.
"""

import gc
import time


def main(ota):
    most = [0]
    times = []

    def look(*_):
        gc.collect()
        most[0] = max(most[0], gc.mem_alloc())

    def note(done, size):
        if not ota.settings.get("is_measuring_time"):
            look()
        elif done == 0:
            times.append(time.ticks_us())
        elif done == size:
            print("took", time.ticks_diff(time.ticks_us(), times[0]))

    ota.on_progress(note)
    ota.on_end(lambda: print("peak", most[0]))
    pull = ota.pull
    pull.deadline = None
    begun = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), begun) < 500:
        ota.handle()
    gc.collect()
    print("idle", gc.mem_alloc())
    while True:
        pull.check()
        while pull.is_checking:
            ota.handle()
            if pull.session and not ota.settings.get("is_measuring_time"):
                look()
        print("asked", most[0])
        most[0] = 0
        begun = time.ticks_ms()
        while time.ticks_diff(time.ticks_ms(), begun) < 300:
            ota.handle()
