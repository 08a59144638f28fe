"""An application with the update page: it notes how much heap is in use when idle, while requests
are served, by how many there are, and at the peak of an update; or how long updates take.
"""

import gc
import time


class Names:
    pass


# As an application has them: the table of names makes its step with or without the page.
for n in range(80):
    setattr(Names, "name%d" % n, n)


def main(ota):
    times = []
    most = [0, 0, 0]  # by the number of connections that are open

    def note(done, size):
        if not times:
            times.append(time.ticks_us())
        if done == size:
            times.append(time.ticks_us())

    def look(*_):
        gc.collect()
        count = min(len(ota.web.session), 2)
        most[count] = max(most[count], gc.mem_alloc())

    is_measuring_time = ota.settings.get("is_measuring_time")
    ota.on_progress(note if is_measuring_time else look)
    begun = time.ticks_ms()
    while ota.arduino.socket is None or time.ticks_diff(time.ticks_ms(), begun) < 500:
        ota.handle()
    gc.collect()
    print("idle", gc.mem_alloc())
    while True:
        ota.handle()
        if len(times) == 2 and not ota.is_updating:
            print("took", time.ticks_diff(times[1], times[0]))
            times.clear()
        if ota.own_web and not is_measuring_time:
            look()
            if most[1] and not ota.web.session and not ota.is_updating:
                print("most", most[1], most[2], "idle", gc.mem_alloc())
                most = [0, 0, 0]
