"""A gzip, unpacked on its way into the slot; loaded when one arrives. Part of the Updater.

RFC 1951 and RFC 1952. What a code refers back to is in the pages that were programmed last, which
are still in memory, or is read from the slot: so a window of 32 KB takes no memory. Those that
mpota makes have a small window, which the chip's own `deflate` unpacks much faster. RAM: 2.3 KB
while one is unpacked; 4 KB for one of mpota, since that `deflate` wants a window of its own and
cannot wait for its input.
"""

import gc

from micropython import const
from uarray import array
from uhashlib import sha256

from ..errors import OTAError

# The head of a gzip that mpota makes; the bits of its window follow, see docs/SPEC.md.
_OUR_HEAD = const(b"\x1f\x8b\x08\x04\0\0\0\0\x02\xff\x05\0MP\x01\0")
_MAX_BITS = const(12)
# So much is at hand before the next piece is unpacked: no piece of what zlib makes needs more.
_MARGIN_BYTES = const(640)

# Where the tables are, in words: for literals and lengths 16 counts of codes by their length, the
# symbols in the order of their codes, and what the next 7 bits mean (symbol << 4 | length; 0: a
# longer code); counts and symbols for distances.
_FAST = const(304)
_FAR = const(432)
_TABLE_WORDS = const(_FAR + 16 + 32)
_CODES = const(320)

_RING_BYTES = const(1024)
_STEP_BYTES = const(128)
# In what order the lengths of the codes for code lengths come.
_ORDER = const(b"\x10\x11\x12\x00\x08\x07\x09\x06\x0a\x05\x0b\x04\x0c\x03\x0d\x02\x0e\x01\x0f")
# The CRC of each number of 4 bits: the lower halves, then the upper ones.
_CRC = const(
    b"\x00\x00\x64\x10\xc8\x20\xac\x30\x90\x41\xf4\x51\x58\x61\x3c\x71"
    b"\x20\x83\x44\x93\xe8\xa3\x8c\xb3\xb0\xc2\xd4\xd2\x78\xe2\x1c\xf2"
    b"\x00\x00\xb7\x1d\x6e\x3b\xd9\x26\xdc\x76\x6b\x6b\xb2\x4d\x05\x50"
    b"\xb8\xed\x0f\xf0\xd6\xd6\x61\xcb\x64\x9b\xd3\x86\x0a\xa0\xbd\xbd"
)
_MAX_TRAILER_BYTES = const(516)  # a signature of 4096 bits and its length

_WRITE_FAILED = const(1)
_DAMAGED = const(37)


class Unpacker:
    """Unpacks what *updater*, whose pages are empty, receives, and gives it what comes out.

    When all has come, `trailer` is what stands behind the gzip; `whole` is the SHA-256 of all,
    `signed` that of what is before the trailer, each where the Updater needs it. `patcher` is what
    makes an image of what was unpacked if that is a delta.
    """

    patcher = None
    _is_complete = _is_last = _is_ours = False
    # What was read of the input and is not used yet, how many bits that is, and where the input is.
    _bits = _count = _at = _end = 0
    # Where in the ring the next byte goes to, up to where the CRC is done, and what is before it.
    _out = _summed = _size = 0
    _low = _high = 0xFFFF  # the halves of the CRC

    def __init__(self, updater):
        self._updater = updater
        self._ring = updater.pages
        self.trailer = bytearray()
        self.whole = sha256() if updater.expected_sha256 else None
        self.signed = sha256() if updater.signature else None
        self._input = memoryview(bytearray(_STEP_BYTES))
        self._near = memoryview(bytearray(_STEP_BYTES))
        self._steps = self._unpacking()

    def taking(self, data):
        """Do what the Updater's `writing` does; a generator."""
        updater = self._updater
        size = len(data)
        try:
            for _ in self.writing(data):
                yield
                if not updater.is_running:  # it was ended meanwhile
                    raise OTAError(updater.error)
        except Exception as e:
            updater.fail(e, _WRITE_FAILED)
        data = None  # the Updater is to be the block's only owner
        updater.progress += size
        updater.remaining -= size
        done = updater.progress
        updater.ota.call("progress", updater.callbacks, done, done + updater.remaining)

    def writing(self, data):
        """Unpack *data*; a generator that yields after every piece. Raises OTAError."""
        for at in range(0, len(data), _STEP_BYTES):
            part = data[at : at + _STEP_BYTES]
            self._at = 0
            self._end = len(part)
            self._input[: self._end] = part
            digest = self.whole or self._updater.md5_state
            if digest:
                digest.update(part)
            while next(self._steps):
                yield
            if self.signed and not (self._is_ours or self._is_complete):
                self.signed.update(part)
            yield
        data = part = None  # the Updater is to be the only owner of its buffer

    def ending(self):
        """Do the rest, and see to it that nothing is missing; as `writing`."""
        self._is_last = True
        while next(self._steps):
            yield
        if not self._is_complete:
            raise _damaged()
        if self.patcher:
            self.patcher.end()

    def _unpacking(self):
        # All of it, in steps: yields True where there is more to do, False where input is needed.
        take = self._take
        head = bytearray(10)
        for i in range(10):
            head[i] = yield from self._take_head()
        flags = head[3]
        if head[:3] != _OUR_HEAD[:3] or flags & 0xE0:
            raise _damaged()
        if flags & 4:  # FEXTRA
            count = yield from self._take_head()
            for _ in range(count | (yield from self._take_head()) << 8):
                i = yield from self._take_head()
                if len(head) < 15:
                    head.append(i)
        if head == _OUR_HEAD[:10] + _OUR_HEAD[12:] + bytes((i,)) and 8 < i <= _MAX_BITS:
            rest = yield from self._inflating(i)
        else:
            for flag in (8, 16):  # FNAME, FCOMMENT
                while flags & flag and (yield from self._take_head()):
                    pass
            count = ~self._low & 0xFFFF
            if flags & 2 and (yield from take(16)) != count:  # FHCRC
                raise _damaged()
            self._low = self._high = 0xFFFF
            gc.collect()
            self._tables = array("H", bytes(2 * _TABLE_WORDS))
            self._lengths = bytearray(_CODES)
            flags = 0
            while not flags & 1:
                flags = yield from take(3)  # whether it is the last block, and of which kind it is
                if flags < 2:
                    yield from self._copying()
                else:
                    yield from self._reading_codes(flags >> 1)
                    yield from self._decoding()
                    self._advance()
            yield from take(self._count & 7)
            size = self._size
            for value in (~self._low, ~self._high, size, size >> 16):
                if (yield from take(16)) != value & 0xFFFF:
                    raise _damaged()
            if self.signed:
                self.signed.update(self._input[: self._at])
            rest = b""
        self._is_complete = True
        self._ring = self._tables = self._lengths = self._near = None
        self.trailer += rest
        while True:
            self.trailer += self._input[self._at : self._end]
            self._at = self._end
            if len(self.trailer) > _MAX_TRAILER_BYTES:
                raise _damaged()
            yield False

    def _take(self, count):
        # A generator whose value are the next *count* bits, 16 at most.
        while self._count < count:
            while self._at == self._end:
                yield False
            self._bits |= self._input[self._at] << self._count
            self._at += 1
            self._count += 8
        value = self._bits & (1 << count) - 1
        self._bits >>= count
        self._count -= count
        return value

    def _take_head(self):
        # A generator whose value is the next byte of the head, which has a CRC, too.
        value = yield from self._take(8)
        self._sum(bytes((value,)), 0, 1)
        return value

    def _copying(self):
        # A block that is not compressed.
        yield from self._take(self._count & 7)
        left = yield from self._take(16)
        if left ^ (yield from self._take(16)) != 0xFFFF:
            raise _damaged()
        while left:
            at = self._at
            out = self._out
            count = min(left, self._end - at, _RING_BYTES - out)
            self._ring[out : out + count] = self._input[at : at + count]
            self._at = at + count
            self._out = out + count
            left -= count
            self._advance()
            yield count > 0

    def _reading_codes(self, kind):
        # Makes the tables for a block with codes that are known (1) or stand before it (2).
        take = self._take
        lengths = self._lengths
        if kind == 3:
            raise _damaged()
        first, end = 288, 318
        if kind == 1:
            for i in range(end):
                lengths[i] = 8 if i < 144 else 9 if i < 256 else 7 if i < 280 else 8
                if i >= first:
                    lengths[i] = 5
        else:
            first = 257 + (yield from take(5))
            end = first + 1 + (yield from take(5))
            for i in range(19):
                lengths[i] = 0
            for i in range(4 + (yield from take(4))):
                lengths[_ORDER[i]] = yield from take(3)
            self._build(0, 0, 19)
            i = 0
            while i < end:
                # A symbol, bit by bit: a length, or how often one is repeated.
                code = 0
                place = 16
                for n in range(1, 9):
                    n = self._tables[n]
                    code += code + (yield from take(1)) - n
                    place += n
                    if code < 0:
                        break
                else:
                    raise _damaged()
                length = self._tables[place + code]
                count = 1
                if length > 15:
                    kind = length - 16
                    count = b"\3\3\x0b"[kind] + (yield from take(b"\2\3\7"[kind]))
                    length = 0 if kind else lengths[i - 1]
                    if not (i or kind):
                        raise _damaged()
                if i + count > end:
                    raise _damaged()
                while count:
                    lengths[i] = length
                    i += 1
                    count -= 1
                yield True
        self._build(0, 0, first)
        self._build(_FAR, first, end)

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
                raise _damaged()

    def _decoding(self):
        # The codes of a block, up to its end. What comes next is: a literal or a length (0), the
        # extra bits of the length (1), a distance (2), its extra bits (3), the copy (4).
        tables = self._tables
        ring = self._ring
        data = self._input
        bits = self._bits
        count = self._count
        out = self._out
        step = length = distance = extra = 0
        while True:
            if step == 4:
                n = min(length, distance, _RING_BYTES - out)
                if distance <= _RING_BYTES:
                    at = (out - distance) & (_RING_BYTES - 1)
                    n = min(n, _RING_BYTES - at)
                    ring[out : out + n] = ring[at : at + n]
                else:
                    # From the slot.
                    at = self._updater.stored + out - distance
                    skip = at & 3
                    n = min(n, _STEP_BYTES - skip)
                    self._updater.read_stored(at - skip, self._near)
                    ring[out : out + n] = self._near[skip : skip + n]
                out += n
                length -= n
                if not length:
                    step = 0
            else:
                at = self._at
                while count < 16 and at < self._end:
                    bits |= data[at] << count
                    at += 1
                    count += 8
                self._at = at
                # The next n bits, and what they mean: x.
                if step & 1:
                    n = extra
                    x = bits & (1 << n) - 1
                else:
                    n = 0
                    i = _FAR
                    if step == 0:
                        x = tables[_FAST + (bits & 127)]
                        n = x & 15
                        x >>= 4
                        i = 0
                    if n == 0:
                        place = i + 16
                        x = 0
                        while x >= 0 and n < 15:
                            x += x + (bits >> n & 1)
                            n += 1
                            k = tables[i + n]
                            x -= k
                            place += k
                        x = tables[place + x] if x < 0 else 512
                if n > count:
                    self._out = out
                    yield False
                    continue
                bits >>= n
                count -= n
                if step == 1:
                    length += x
                    step = 2
                elif step == 3:
                    distance += x
                    if distance > self._size + out - self._summed:
                        raise _damaged()
                    step = 4
                elif step == 0 and x < 256:
                    ring[out] = x
                    out += 1
                elif step == 0 and x == 256:
                    self._out = out
                    self._bits = bits
                    self._count = count
                    return
                else:
                    # Four lengths, or two distances, have as many extra bits each.
                    k = 1
                    if step == 0:
                        x -= 257
                        k = 2
                    if x > 30 - k:
                        raise _damaged()
                    extra = max(0, (x >> k) - 1)
                    if extra:
                        x = x - (extra << k) << extra
                    step += 1
                    if k == 1:
                        distance = x + 1
                    elif extra == 6:  # the longest
                        length = 258
                        step = 2
                    else:
                        length = x + 3
            if out - self._summed >= _STEP_BYTES or out == _RING_BYTES:
                self._out = out
                self._advance()
                out = self._out
                yield True

    def _advance(self):
        # Counts what was unpacked, and gives it away when the ring is full.
        self._sum(self._ring, self._summed, self._out)
        self._size += self._out - self._summed
        updater = self._updater
        updater.filled = self._out
        if self._out == _RING_BYTES:
            updater.flush()
            self._out = 0
        self._summed = self._out

    def _sum(self, data, at, end):
        # Goes on with the CRC.
        low, high = self._low, self._high
        for i in range(at, end):
            low ^= data[i]
            for _ in range(2):
                i = (low & 15) << 1
                low = (low >> 4 | (high & 15) << 12) ^ (_CRC[i] | _CRC[i + 1] << 8)
                high = high >> 4 ^ (_CRC[i + 32] | _CRC[i + 33] << 8)
        self._low, self._high = low, high

    def _inflating(self, bits):
        # What mpota made, with a window of *bits*: C does it, whose input cannot be paused. A
        # generator whose value is what was read too far.
        from deflate import GZIP, DeflateIO
        from uio import BytesIO

        self._is_ours = True
        if self.signed:
            self.signed = sha256()
        updater = self._updater
        source = BytesIO(_MARGIN_BYTES + _STEP_BYTES)
        held = source.write(_OUR_HEAD + bytes((bits,)))
        used = 0
        inflater = DeflateIO(source, GZIP, bits)
        part = self._near
        count = len(part)
        while count == len(part):
            while held - used < _MARGIN_BYTES and not self._is_last:
                while self._at == self._end and not self._is_last:
                    yield False
                source.seek(0)
                rest = source.read(used)
                if self.signed:
                    self.signed.update(rest)
                rest = source.read(held - used)
                source.seek(0)
                held = source.write(rest) + source.write(self._input[self._at : self._end])
                used = 0
                rest = None
                self._at = self._end
            source.seek(used)
            try:
                count = inflater.readinto(part)
            except (OSError, EOFError):
                raise _damaged()
            used = source.tell()
            if not self._size and bytes(part[:4]) == b"MPD1":
                from .delta import Patcher

                self.patcher = Patcher(updater)
            self._size += count
            if self.patcher:
                for _ in self.patcher.feeding(part[:count]):
                    yield True
            else:
                updater.gather(part[:count])
            yield True
        source.seek(used - 4)
        if used > held or int.from_bytes(source.read(4), "little") != self._size:
            raise _damaged()
        if self.signed:
            source.seek(0)
            self.signed.update(source.read(used))
        return source.read(held - used)


def _damaged():
    return OTAError(_DAMAGED, "gzip")
