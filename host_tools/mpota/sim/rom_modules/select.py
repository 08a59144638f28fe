"""The board's `select`: the interpreter's own, in slices, so that timers run meanwhile."""

import uselect
import utime
from micropython import const
from uselect import POLLERR, POLLHUP, POLLIN, POLLOUT  # noqa: F401

_SLICE_MS = const(10)

# What calls the timers that are due, once there is one.
run_timers = None


class poll:
    def __init__(self):
        self._poll = uselect.poll()

    def __getattr__(self, name):
        # register, modify and unregister are the same.
        return getattr(self._poll, name)

    def poll(self, timeout=-1):
        # ipoll() gives the same tuple again and again.
        return [(item[0], item[1]) for item in self.ipoll(timeout)]

    def ipoll(self, timeout=-1, flags=0):
        end = utime.ticks_add(utime.ticks_ms(), timeout)
        while True:
            if run_timers:
                run_timers()
            left = _SLICE_MS if timeout < 0 else utime.ticks_diff(end, utime.ticks_ms())
            found = False
            for item in self._poll.ipoll(max(0, min(left, _SLICE_MS)), flags):
                found = True
                yield item
            if found or timeout >= 0 and left <= _SLICE_MS:
                return
