"""MD5 (RFC 1321), which the stock build's hashlib lacks and ArduinoOTA asks for.

RAM: 2.9 KB with ota/md5_viper.py, 3.6 KB with ota/md5_bytecode.py instead, 0.6 KB for each object
(`.mpy`, measured on the 64-bit unix port).
"""

from micropython import const

# The work buffer, one for each object: little-endian words, aligned as every bytearray is, since
# the native code reads words. It copies its input as well, which may start at any address.
#   0    16  the digest so far, from the initial value on
#   16   16  the same within a block
#   32    4  blocks to digest
#   36  256  floor(2**32 * abs(sin(i))) for i = 1 to 64 (a float on the board has too few digits)
#  292   16  left shifts, four for each round
#  308  128  input not yet digested
_COUNT = const(32)
_DATA = const(308)
_DATA_SIZE = const(128)

_START = (
    b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10"
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    b"\x78\xa4\x6a\xd7\x56\xb7\xc7\xe8\xdb\x70\x20\x24\xee\xce\xbd\xc1"
    b"\xaf\x0f\x7c\xf5\x2a\xc6\x87\x47\x13\x46\x30\xa8\x01\x95\x46\xfd"
    b"\xd8\x98\x80\x69\xaf\xf7\x44\x8b\xb1\x5b\xff\xff\xbe\xd7\x5c\x89"
    b"\x22\x11\x90\x6b\x93\x71\x98\xfd\x8e\x43\x79\xa6\x21\x08\xb4\x49"
    b"\x62\x25\x1e\xf6\x40\xb3\x40\xc0\x51\x5a\x5e\x26\xaa\xc7\xb6\xe9"
    b"\x5d\x10\x2f\xd6\x53\x14\x44\x02\x81\xe6\xa1\xd8\xc8\xfb\xd3\xe7"
    b"\xe6\xcd\xe1\x21\xd6\x07\x37\xc3\x87\x0d\xd5\xf4\xed\x14\x5a\x45"
    b"\x05\xe9\xe3\xa9\xf8\xa3\xef\xfc\xd9\x02\x6f\x67\x8a\x4c\x2a\x8d"
    b"\x42\x39\xfa\xff\x81\xf6\x71\x87\x22\x61\x9d\x6d\x0c\x38\xe5\xfd"
    b"\x44\xea\xbe\xa4\xa9\xcf\xde\x4b\x60\x4b\xbb\xf6\x70\xbc\xbf\xbe"
    b"\xc6\x7e\x9b\x28\xfa\x27\xa1\xea\x85\x30\xef\xd4\x05\x1d\x88\x04"
    b"\x39\xd0\xd4\xd9\xe5\x99\xdb\xe6\xf8\x7c\xa2\x1f\x65\x56\xac\xc4"
    b"\x44\x22\x29\xf4\x97\xff\x2a\x43\xa7\x23\x94\xab\x39\xa0\x93\xfc"
    b"\xc3\x59\x5b\x65\x92\xcc\x0c\x8f\x7d\xf4\xef\xff\xd1\x5d\x84\x85"
    b"\x4f\x7e\xa8\x6f\xe0\xe6\x2c\xfe\x14\x43\x01\xa3\xa1\x11\x08\x4e"
    b"\x82\x7e\x53\xf7\x35\xf2\x3a\xbd\xbb\xd2\xd7\x2a\x91\xd3\x86\xeb"
    b"\x07\x0c\x11\x16\x05\x09\x0e\x14\x04\x0b\x10\x17\x06\x0a\x0f\x15"
)


class MD5:
    """Digest with `blocks`, the function of ota/md5_viper.py or of ota/md5_bytecode.py."""

    def __init__(self, blocks, data=b""):
        self._blocks = blocks
        self._work = bytearray(_DATA + _DATA_SIZE)
        self._work[:_DATA] = _START
        self._filled = 0
        self._size_bytes = 0
        self.update(data)

    def update(self, data):
        """Add `data`, bytes or a memoryview of bytes of any length.

        Allocates a memoryview object for each 128 bytes and nothing else.

        Raises ValueError after `digest`.
        """
        if self._work is None:
            raise ValueError("hash is final")
        data = memoryview(data)
        size = len(data)
        self._size_bytes += size
        start = 0
        while start < size:
            count = min(size - start, _DATA_SIZE - self._filled)
            at = _DATA + self._filled
            self._work[at : at + count] = data[start : start + count]
            start += count
            self._filled += count
            if self._filled == _DATA_SIZE:
                self._flush()

    def digest(self):
        """Return the digest, 16 bytes. The object can do nothing after it.

        Raises ValueError when called twice.
        """
        size_bits = self._size_bytes << 3
        length = bytearray(8)
        for i in range(8):
            length[i] = size_bits >> (8 * i) & 255
        self.update(b"\x80" + bytes((55 - self._size_bytes) & 63))
        self.update(length)
        self._flush()
        digest = bytes(self._work[:16])
        self._work = None
        return digest

    def _flush(self):
        self._work[_COUNT] = self._filled >> 6
        self._blocks(self._work)
        self._filled = 0


try:
    from uhashlib import md5
except ImportError:
    try:
        from .md5_viper import blocks as _blocks
    except (ImportError, MemoryError, SyntaxError, ValueError):
        # No module, no room in IRAM, no native emitter, native code for another processor.
        from .md5_bytecode import blocks as _blocks

    def md5(data=b""):
        """Return an MD5 object, as `hashlib.md5` does where a port has it."""
        return MD5(_blocks, data)
