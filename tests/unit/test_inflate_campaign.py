"""Gzips and deltas that were mutated: each is unpacked or refused, and the heap comes back.

In a whole campaign there are 100,000, otherwise a sample of them.
"""

import gc
import json
import random
from binascii import hexlify

from ota import hal, slots
from ota.errors import OTAError
from ota.updater import inflate
from ota.updater.delta import Patcher
from sample_image import LIMIT_BYTES, clear_slot, fill_slot

_WHOLE, _SAMPLE = 100000, 3000
_FOLDER = "/vectors/gzip/"
_GZIPS = (
    "short.9-15-0.gz",
    "short.9-15-4.gz",
    "short.0-15-0.gz",
    "short.fields-30.gz",
    "short.ours.gz",
    "one.ours.gz",
    "new.delta",
    "noise.9-15-2.gz",
)
_RING = 1024
_LOOKS = 60  # at the heap


class _Gc:
    """A `gc` that collects nothing: of this test's large heap that takes longer than the rest."""

    def collect(self):
        pass


class _Sink:
    # What an Unpacker and a Patcher need of an Updater; nothing is programmed.
    expected_sha256 = signature = md5_state = None
    slot = "b"
    stored = filled = 0

    def __init__(self):
        self.pages = memoryview(bytearray(_RING))

    def read_stored(self, at, view):
        hal.flash_read(slots.start("a") + at, view)

    def gather(self, data):
        self.filled += len(data)
        while self.filled >= _RING:
            self.filled -= _RING
            self.stored += _RING
            self._check()

    def flush(self):
        self.stored += self.filled
        self.filled = 0
        self._check()

    def _check(self):
        if self.stored > LIMIT_BYTES:
            raise OTAError(4)


def _read(name):
    with open(_FOLDER + name, "rb") as f:
        return f.read()


def _random(n):
    return random.getrandbits(24) % n


def _mutated(data):
    # *data* with one to four changes.
    data = bytearray(data)
    for _ in range(1 + _random(4)):
        at = _random(len(data))
        kind = _random(9)
        if kind < 4:
            data[at] ^= 1 << _random(8)
        elif kind < 6:
            data[at] = _random(256)
        elif kind == 6:
            data[at:at] = bytes([_random(256) for _ in range(1 + _random(5))])
        elif kind == 7:
            data[at : at + 1 + _random(6)] = b""
        else:
            begin = _random(len(data))
            data[at:at] = data[begin : begin + _random(40)]
        if not data:
            data = bytearray(b"\x1f")
    return bytes(data)


def _unpack(data, chunk):
    sink = _Sink()
    unpacker = inflate.Unpacker(sink)
    for at in range(0, len(data), chunk):
        for _ in unpacker.writing(data[at : at + chunk]):
            pass
    for _ in unpacker.ending():
        pass


def _patch(data, chunk):
    patcher = Patcher(_Sink())
    for at in range(0, len(data), chunk):
        for _ in patcher.feeding(data[at : at + chunk]):
            pass
    if not patcher._is_complete:
        raise OTAError(37)


def _code(function, data, chunk):
    # The number of the error; None: it is unpacked.
    try:
        function(data, chunk)
    except OTAError as e:
        return e.code
    return None


def test_whatever_is_changed_in_a_gzip_or_a_delta_it_is_unpacked_or_refused():
    with open("/campaign.json") as f:
        campaign = json.load(f)
    count = _WHOLE if campaign["whole"] else _SAMPLE
    first = campaign["seed"]
    clear_slot("a")
    fill_slot("a", _read("old"))
    originals = [(_unpack, _read(name)) for name in _GZIPS]
    originals += [(_patch, _read("new.plain"))] * 2
    codes = {}
    real = inflate.gc
    inflate.gc = _Gc()
    hal.flash_read(slots.start("a"), bytearray(16))
    heap = []
    try:
        for n in range(first, first + count):
            random.seed(n)
            function, original = originals[_random(len(originals))]
            data = _mutated(original)
            try:
                code = _code(function, data, (1, 7, 1460)[_random(3)])
            except Exception as e:
                print("mutant number", n, hexlify(data))
                raise e
            codes[code] = codes.get(code, 0) + 1
            assert code in (None, 4, 10, 37, 45), (n, code)
            if (n - first) % (count // _LOOKS) == 0:
                gc.collect()
                heap.append(gc.mem_alloc())
    finally:
        inflate.gc = real
    text = "figure mutated gzips and deltas, from number %d on: %d/%d, of which %d are unpacked"
    print(text % (first, count, count, codes.get(None, 0)))
    assert codes[37] > count // 2, codes
    # About every second figure is higher, since the collector takes a number for a pointer.
    half = _LOOKS // 2
    assert min(heap[half:]) - min(heap[:half]) < 500, heap
