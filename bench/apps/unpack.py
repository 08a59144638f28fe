"""Measures how long an image takes to get into the Updater's pages: plain, and out of each
gzip of it; and finds out what heap the unpacking takes. Prints for each: name, µs, bytes.
"""

import gc
import time

from ota.updater import inflate

_ROUNDS = 3
_CHUNK = 1460
_RING = 1024
_SLOT = 1 << 17


class Sink:
    # What an Unpacker needs of an Updater. Nothing is programmed: that takes as long in any way.
    expected_sha256 = signature = md5_state = None

    def __init__(self):
        self.pages = memoryview(bytearray(_RING))
        self.slot = bytearray(_SLOT)
        self.begin()

    def begin(self):
        self.stored = self.filled = 0

    def gather(self, data):
        at = 0
        while at < len(data):
            count = min(len(data) - at, _RING - self.filled)
            self.pages[self.filled : self.filled + count] = data[at : at + count]
            self.filled += count
            at += count
            if self.filled == _RING:
                self.flush()

    def read_stored(self, at, view):
        view[:] = self.slot[at : at + len(view)]

    def flush(self):
        self.slot[self.stored : self.stored + self.filled] = self.pages[: self.filled]
        self.stored += self.filled
        self.filled = 0


def unpack(data):
    unpacker = inflate.Unpacker(sink)
    for at in range(0, len(data), _CHUNK):
        for _ in unpacker.writing(data[at : at + _CHUNK]):
            yield
    for _ in unpacker.ending():
        yield


def copy(data):
    for at in range(0, len(data), _CHUNK):
        sink.gather(data[at : at + _CHUNK])
        yield


def measure(name, function):
    with open("/" + name, "rb") as f:
        data = memoryview(f.read(_SLOT))
    best = most = 0
    for _ in range(_ROUNDS):
        sink.begin()
        gc.collect()
        begun = time.ticks_us()
        for _ in function(data):
            pass
        took = time.ticks_diff(time.ticks_us(), begun)
        best = min(best, took) if best else took
    sink.begin()
    gc.collect()
    before = gc.mem_alloc()
    for step, _ in enumerate(function(data)):
        if step % 64 == 9:
            gc.collect()
            most = max(most, gc.mem_alloc() - before)
    print("unpacked", name, best, most)


sink = Sink()
measure("plain", copy)
measure("gzip", unpack)
measure("ours", unpack)
print("done")
