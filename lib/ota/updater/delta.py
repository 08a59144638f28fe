"""An image that is sent as what has changed since the version that runs; loaded when one arrives.
Part of the Updater. Format: docs/SPEC.md.

RAM: 0.6 KB while one arrives, beside what inflate.py needs, and 1 KB for its ring.
"""

from micropython import const

from .. import hal, slots
from ..errors import OTAError

# Magic, SHA-256 of the base, size of the result, its SHA-256.
_HEAD_BYTES = const(72)
_PIECE_BYTES = const(256)  # copied in one step

_NO_SPACE = const(4)
_DAMAGED = const(37)
_WRONG_BASE = const(45)


class Patcher:
    """Makes, of a delta and the slot that runs, the image that goes into *updater*'s slot."""

    def __init__(self, updater):
        self._updater = updater
        self._piece = memoryview(bytearray(_PIECE_BYTES))
        self._data = None  # the part of the delta that is at hand, and how far it is used
        self._at = 0
        self._steps = self._patching()
        self._is_complete = False

    def feeding(self, data):
        """Take *data*, the next bytes of the delta; a generator that yields after every piece."""
        self._data = data
        self._at = 0
        while next(self._steps):
            yield
        self._data = data = None

    def end(self):
        """See to it that the image is there, as it was announced. Raises OTAError 37."""
        updater = self._updater
        if updater.filled:
            updater.flush()
        if not self._is_complete or slots.digest_of(updater.slot) != self._digest:
            raise _damaged()

    def _patching(self):
        # All of it, in steps: yields True where there is more to do, False where input is needed.
        updater = self._updater
        head = bytearray(_HEAD_BYTES)
        for i in range(_HEAD_BYTES):
            head[i] = yield from self._byte()
        base = "a" if updater.slot == "b" else "b"
        if slots.digest_of(base) != head[4:36]:
            raise OTAError(_WRONG_BASE)
        left = int.from_bytes(head[36:40], "little")
        if left > slots.IMAGE_LIMIT_BYTES:
            raise OTAError(_NO_SPACE, "%d bytes" % left)
        self._digest = head[40:]
        base = slots.start(base)
        place = 0  # in the base
        while left:
            number = yield from self._number()
            length = number >> 1
            left -= length
            if not length or left < 0:
                raise _damaged()
            if number & 1:
                shift = yield from self._number()
                place += shift >> 1 ^ -(shift & 1)
                if not 0 <= place <= slots.IMAGE_LIMIT_BYTES - length:
                    raise _damaged()
            while length:
                if number & 1:
                    skip = place & 3
                    count = min(length, _PIECE_BYTES - skip)
                    hal.flash_read(base + place - skip, self._piece)
                    updater.gather(self._piece[skip : skip + count])
                    place += count
                else:
                    at = self._at
                    count = min(length, len(self._data) - at)
                    updater.gather(self._data[at : at + count])
                    self._at = at + count
                length -= count
                yield count > 0
        self._is_complete = True
        while self._at == len(self._data):
            yield False
        raise _damaged()

    def _byte(self):
        # A generator whose value is the next byte of the delta.
        while self._at == len(self._data):
            yield False
        self._at += 1
        return self._data[self._at - 1]

    def _number(self):
        # A generator whose value is the next number, written as in a ROMFS.
        value = 0
        while True:
            byte = yield from self._byte()
            value = value << 7 | byte & 0x7F
            if value >> 28:
                raise _damaged()
            if byte < 0x80:
                return value


def _damaged():
    return OTAError(_DAMAGED, "delta")
