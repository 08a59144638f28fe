"""The board's `select`: polls the host's socket inside each of the board's."""

import uselect
import utime
from uselect import POLLERR, POLLHUP, POLLIN, POLLOUT  # noqa: F401
from micropython import const

_SLICE_MS = const(10)

# What calls the timers that are due, once there is one.
run_timers = None


class poll:
    def __init__(self):
        self._poll = uselect.poll()
        self._objects = {}

    def register(self, obj, eventmask=POLLIN | POLLOUT):
        inner = getattr(obj, "_socket", obj)
        self._objects[id(inner)] = obj
        self._poll.register(inner, eventmask)

    def modify(self, obj, eventmask):
        self._poll.modify(getattr(obj, "_socket", obj), eventmask)

    def unregister(self, obj):
        inner = getattr(obj, "_socket", obj)
        self._objects.pop(id(inner), None)
        self._poll.unregister(inner)

    def poll(self, timeout=-1):
        return list(self.ipoll(timeout))

    def ipoll(self, timeout=-1, flags=0):
        # In slices, so that timers run meanwhile.
        end = utime.ticks_add(utime.ticks_ms(), timeout)
        while True:
            if run_timers:
                run_timers()
            left = _SLICE_MS if timeout < 0 else utime.ticks_diff(end, utime.ticks_ms())
            found = False
            for inner, events in self._poll.ipoll(max(0, min(left, _SLICE_MS)), flags):
                found = True
                yield self._objects[id(inner)], events
            if found or timeout >= 0 and left <= _SLICE_MS:
                return
