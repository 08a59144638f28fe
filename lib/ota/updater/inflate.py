"""A gzip, unpacked on its way into the slot; loaded when one arrives. Part of the Updater.

RFC 1951 and RFC 1952. What a code refers back to is in the pages that were programmed last, which
are still in memory, or is read from the slot: so a window of 32 KB takes no memory. RAM: 2.4 KB
while one is unpacked.
"""

import gc

from micropython import const
from uarray import array
from uhashlib import sha256

from .. import hal, slots
from ..errors import OTAError

try:
    from .inflate_viper import crc, decode
except (ImportError, MemoryError, SyntaxError, ValueError):
    # No module, no room in IRAM, no native emitter, native code for another processor.
    from .inflate_bytecode import crc, decode

# The words of the state, and where the tables are: see inflate_viper.py.
_BITS = const(0)
_COUNT = const(1)
_AT = const(2)
_END = const(3)
_OUT = const(4)
_LIMIT = const(5)
_BEHIND = const(6)
_STEP = const(7)
_LENGTH = const(8)
_DISTANCE = const(9)
_CRC = const(11)
_POLYNOMIAL = const(13)
_STATE_WORDS = const(14)
_FAST = const(304)
_FAR = const(432)
_TABLE_WORDS = const(_FAR + 16 + 32)

# Why `decode` stops: it needs more input; the limit is reached; a copy from what is not in the
# ring; the end of the block. Anything else: there is no such code.
_INPUT = const(0)
_FULL = const(1)
_BACK = const(2)
_BLOCK_END = const(3)

_RING_BYTES = const(1024)
_STEP_BYTES = const(256)  # unpacked in one step
_INPUT_BYTES = const(96)
_NEAR_BYTES = const(64)  # read from the slot at once
_CODES = const(320)  # at most, for literals, lengths and distances
# In what order the lengths of the codes for code lengths come.
_ORDER = const(b"\x10\x11\x12\x00\x08\x07\x09\x06\x0a\x05\x0b\x04\x0c\x03\x0d\x02\x0e\x01\x0f")
_MAX_TRAILER_BYTES = const(516)  # a signature of 4096 bits and its length

_NO_SPACE = const(4)
_DAMAGED = const(37)


class Unpacker:
    """Unpacks what *updater*, whose pages are empty, receives, and gives it what comes out.

    `is_complete` says whether all of it has come. Then `trailer` is what stands behind the gzip;
    `whole` is the SHA-256 of all, `signed` that of what is before the trailer, each where the
    Updater needs it.
    """

    is_complete = False

    def __init__(self, updater):
        self._updater = updater
        self.trailer = bytearray()
        self.whole = sha256() if updater.expected_sha256 else None
        self.signed = sha256() if updater.signature else None
        gc.collect()
        self._tables = array("H", bytes(2 * _TABLE_WORDS))
        self._lengths = bytearray(_CODES)
        self._input = bytearray(_INPUT_BYTES)
        self._near = memoryview(bytearray(_NEAR_BYTES))
        self._state = array("i", bytes(4 * _STATE_WORDS))
        self._state[_CRC] = -1
        self._state[_POLYNOMIAL] = 0xEDB88320 - (1 << 32)
        self._size = 0  # what was unpacked, but for what is in the ring
        self._steps = self._unpacking()

    def writing(self, data):
        """Unpack *data*; a generator that yields after every piece. Raises OTAError."""
        state = self._state
        for at in range(0, len(data), _INPUT_BYTES):
            part = data[at : at + _INPUT_BYTES]
            self._input[: len(part)] = part  # which is in memory then, wherever *data* is
            state[_AT] = 0
            state[_END] = len(part)
            while next(self._steps):
                yield
            if self.signed and not self.is_complete:
                self.signed.update(part)
            digest = self.whole or self._updater.md5_state
            if digest:
                digest.update(part)
            yield
        data = part = None  # the Updater is to be the only owner of its buffer

    def end(self):
        """See to it that nothing is missing. Raises OTAError 37."""
        if not self.is_complete:
            raise _damaged("it is cut off")

    def _unpacking(self):
        # All of it, in steps: yields True where there is more to do, False where input is needed.
        take = self._take
        state = self._state
        lengths = self._lengths
        head = yield from take(16)
        if head != 0x8B1F or (yield from take(8)) != 8:
            raise _damaged("bad header")
        flags = yield from take(8)
        if flags & 0xE0:
            raise _damaged("bad header")
        for _ in range(6):
            yield from take(8)
        if flags & 4:  # FEXTRA
            for _ in range((yield from take(16))):
                yield from take(8)
        for flag in (8, 16):  # FNAME, FCOMMENT
            while flags & flag and (yield from take(8)):
                pass
        if flags & 2:  # FHCRC
            yield from take(16)
        is_last = 0
        while not is_last:
            is_last = yield from take(1)
            kind = yield from take(2)
            if kind == 0:
                yield from self._copying()
            elif kind < 3:
                literals, end = 288, 318
                if kind == 2:
                    literals, end = yield from self._reading_lengths()
                else:
                    for i in range(end):
                        lengths[i] = 8 if i < 144 else 9 if i < 256 else 7 if i < 280 else 8
                        if i >= literals:
                            lengths[i] = 5
                self._build(0, 0, literals)
                self._build(_FAR, literals, end)
                yield from self._decoding()
            else:
                raise _damaged("bad block")
        size = self._size + state[_OUT]
        self._drain()
        yield from take(state[_COUNT] & 7)
        # The CRC over its own four bytes leaves nothing.
        for i in range(4):
            lengths[i] = 0xFF ^ (yield from take(8))
        state[_OUT] = 4
        crc(state, lengths)
        low = yield from take(16)
        if state[_CRC] or state[_CRC + 1] or size != low | (yield from take(16)) << 16:
            raise _damaged("its CRC or its length is another")
        if self.signed:
            self.signed.update(self._input[: state[_AT]])
        self.is_complete = True
        self._tables = self._lengths = self._near = lengths = None
        while True:
            self.trailer += self._input[state[_AT] : state[_END]]
            state[_AT] = state[_END]
            if len(self.trailer) > _MAX_TRAILER_BYTES:
                raise _damaged("something stands behind it")
            yield False

    def _take(self, count):
        # A generator whose value are the next *count* bits, 16 at most.
        state = self._state
        while state[_COUNT] < count:
            while state[_AT] == state[_END]:
                yield False
            state[_BITS] |= self._input[state[_AT]] << state[_COUNT]
            state[_AT] += 1
            state[_COUNT] += 8
        value = state[_BITS] & (1 << count) - 1
        state[_BITS] >>= count
        state[_COUNT] -= count
        return value

    def _copying(self):
        # A block that is not compressed.
        state = self._state
        yield from self._take(state[_COUNT] & 7)
        length = yield from self._take(16)
        if length ^ (yield from self._take(16)) != 0xFFFF:
            raise _damaged("bad block")
        while length:
            at = state[_AT]
            out = state[_OUT]
            count = min(length, state[_END] - at, _RING_BYTES - out)
            self._updater.pages[out : out + count] = memoryview(self._input)[at : at + count]
            state[_AT] = at + count
            state[_OUT] = out + count
            length -= count
            if out + count == _RING_BYTES:
                self._drain()
            yield count > 0

    def _reading_lengths(self):
        # Reads the lengths of a block's codes; the value is where those for literals end, and all.
        state = self._state
        take = self._take
        lengths = self._lengths
        literals = 257 + (yield from take(5))
        end = literals + 1 + (yield from take(5))
        for i in range(19):
            lengths[i] = 0
        for i in range(4 + (yield from take(4))):
            lengths[_ORDER[i]] = yield from take(3)
        self._build(0, 0, 19)
        out = state[_OUT]
        i = 0
        while i < end:
            # One symbol is decoded into its place.
            state[_OUT] = i
            state[_LIMIT] = i + 1
            while True:
                result = decode(state, self._tables, lengths, self._input)
                if result != _INPUT:
                    break
                yield False
            repeat = 1
            length = lengths[i]
            if length > 15:
                kind = length - 16
                length = 0 if kind else lengths[i - 1]
                repeat = b"\3\3\x0b"[kind] + (yield from take(b"\2\3\7"[kind]))
                if not i and not kind:
                    repeat = end + 1
            if result != _FULL or i + repeat > end:
                raise _damaged("bad code")
            while repeat:
                lengths[i] = length
                i += 1
                repeat -= 1
        state[_OUT] = out
        return literals, end

    def _build(self, at, first, end):
        # Makes the tables at *at* for codes of the lengths from *first* to *end* (RFC 1951, 3.2.2).
        tables = self._tables
        if at == 0:
            for i in range(_FAST, _FAR):
                tables[i] = 0
        place = at + 16
        code = 0
        for length in range(1, 16):
            code <<= 1
            begin = place
            key = bytes((length,))
            symbol = self._lengths.find(key, first, end)
            while symbol >= 0:
                tables[place] = symbol - first
                if at == 0 and length <= 7:
                    # In the input, a code's first bit comes first.
                    turned = 0
                    for i in range(length):
                        turned = turned << 1 | code >> i & 1
                    for i in range(_FAST + turned, _FAR, 1 << length):
                        tables[i] = symbol << 4 | length
                place += 1
                code += 1
                symbol = self._lengths.find(key, symbol + 1, end)
            tables[at + length] = place - begin
            if code > 1 << length:
                raise _damaged("bad code")

    def _decoding(self):
        # The codes of a block, up to its end.
        state = self._state
        limit = 0
        while True:
            if limit <= state[_OUT]:
                if limit:
                    yield True
                if state[_OUT] == _RING_BYTES:
                    self._drain()
                limit = min(state[_OUT] + _STEP_BYTES, _RING_BYTES)
            state[_LIMIT] = limit
            result = decode(state, self._tables, self._updater.pages, self._input)
            if result == _INPUT:
                yield False
            elif result == _BACK:
                self._look_back()
            elif result == _BLOCK_END:
                return
            elif result != _FULL:
                raise _damaged("bad code")

    def _look_back(self):
        # Copies from the slot.
        state = self._state
        updater = self._updater
        out = state[_OUT]
        at = updater.stored + out - state[_DISTANCE]
        if at < 0:
            raise _damaged("bad distance")
        skip = at & 3
        count = min(state[_LENGTH], _NEAR_BYTES - skip, state[_LIMIT] - out)
        hal.flash_read(slots.start(updater.slot) + at - skip, self._near)
        updater.pages[out : out + count] = self._near[skip : skip + count]
        state[_OUT] = out + count
        state[_LENGTH] -= count
        if not state[_LENGTH]:
            state[_STEP] = 0

    def _drain(self):
        # Gives away what is in the ring.
        state = self._state
        updater = self._updater
        crc(state, updater.pages)
        updater.filled = state[_OUT]
        self._size += state[_OUT]
        if state[_OUT] == _RING_BYTES:
            state[_OUT] = 0
            state[_BEHIND] = _RING_BYTES
            updater.flush()


def _damaged(what):
    return OTAError(_DAMAGED, "gzip: " + what)
