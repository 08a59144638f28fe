"""The innermost loops of unpacking a gzip, for where inflate_viper.py finds no room in IRAM.

RAM: 0.4 KB.
"""

from micropython import const

# Words of the state.
_BITS = const(0)  # what was read of the input and is not used yet
_COUNT = const(1)  # how many bits that is
_AT = const(2)  # where the next byte of the input is
_END = const(3)  # where the input ends
_OUT = const(4)  # where the next byte goes to in the ring
_LIMIT = const(5)  # where to stop there
_BEHIND = const(6)  # 1024 once the ring is full, 0 before
# What comes next: a literal or a length (0), the extra bits of the length (1), a distance (2), its
# extra bits (3), a byte of the copy (4).
_STEP = const(7)
_LENGTH = const(8)
_DISTANCE = const(9)
_EXTRA = const(10)  # how many extra bits
_CRC = const(11)  # its lower half; the upper one follows

# Where the tables are: for literals and lengths 16 counts of codes by their length, the symbols in
# the order of their codes, and what the next 7 bits mean (symbol << 4 | length; 0: a longer code);
# counts and symbols for distances.
_FAST = const(304)
_FAR = const(432)

# The CRC of each number of 4 bits, little-endian.
_TABLE = (
    b"\x00\x00\x00\x00\x64\x10\xb7\x1d\xc8\x20\x6e\x3b\xac\x30\xd9\x26"
    b"\x90\x41\xdc\x76\xf4\x51\x6b\x6b\x58\x61\xb2\x4d\x3c\x71\x05\x50"
    b"\x20\x83\xb8\xed\x44\x93\x0f\xf0\xe8\xa3\xd6\xd6\x8c\xb3\x61\xcb"
    b"\xb0\xc2\x64\x9b\xd4\xd2\xd3\x86\x78\xe2\x0a\xa0\x1c\xf2\xbd\xbd"
)


def decode(s, t, ring, data):
    """Decode what is in *data* into *ring*; return why it stops, see ota/updater/inflate.py.

    *s* is the state, *t* the tables, *ring* the last 1024 bytes that were unpacked.
    """
    while True:
        while s[_COUNT] < 16 and s[_AT] < s[_END]:
            s[_BITS] = s[_BITS] | data[s[_AT]] << s[_COUNT]
            s[_AT] = s[_AT] + 1
            s[_COUNT] = s[_COUNT] + 8
        if s[_STEP] == 4:
            if s[_DISTANCE] > s[_BEHIND] + s[_OUT] or s[_DISTANCE] > 1024:
                return 2
            x = ring[(s[_OUT] - s[_DISTANCE]) & 1023]
            s[_LENGTH] = s[_LENGTH] - 1
            if s[_LENGTH] == 0:
                s[_STEP] = 0
        else:
            # The next n bits, and what they mean: x.
            j = (s[_STEP] >> 1) + _LENGTH
            if s[_STEP] & 1:
                n = s[_EXTRA]
                x = s[_BITS] & ((1 << n) - 1)
            else:
                n = 0
                i = _FAR
                x = 0
                if s[_STEP] == 0:
                    x = t[_FAST + (s[_BITS] & 127)]
                    n = x & 15
                    x >>= 4
                    i = 0
                if n == 0:
                    k = i
                    i += 16
                    x = 0
                    while n < 15:
                        n += 1
                        x += x + (s[_BITS] >> (n - 1) & 1)
                        x -= t[k + n]
                        i += t[k + n]
                        if x < 0:
                            break
                    x = t[i + x] if x < 0 else 512
            if n > s[_COUNT]:
                return 0
            s[_BITS] = s[_BITS] >> n
            s[_COUNT] = s[_COUNT] - n
            if s[_STEP] & 1:
                s[j] = s[j] + x
                s[_STEP] = s[_STEP] + 1
                continue
            if x > 255 or s[_STEP]:
                if s[_STEP] == 0:
                    x -= 257
                    if x < 0:
                        return 3
                    if x == 28:
                        s[_LENGTH] = 258
                        s[_STEP] = 2
                        continue
                k = _LENGTH + 2 - j
                if x > 30 - k:
                    return 4
                n = 0
                if x >= 2 << k:
                    n = (x >> k) - 1
                    x = x - (n << k) << n
                s[j] = x + 2 * k - 1
                s[_EXTRA] = n
                s[_STEP] = s[_STEP] + 1
                continue
        ring[s[_OUT]] = x
        s[_OUT] = s[_OUT] + 1
        if s[_OUT] == s[_LIMIT]:
            return 1


def crc(s, ring):
    """Go on with the CRC of RFC 1952 over what is in *ring*, in halves: an int has 31 bits."""
    low, high = s[_CRC], s[_CRC + 1]
    if low < 0:  # the beginning
        low = high = 0xFFFF
    for i in range(s[_OUT]):
        low ^= ring[i]
        for _ in range(2):
            k = (low & 15) << 2
            low = (low >> 4 | (high & 15) << 12) ^ (_TABLE[k] | _TABLE[k + 1] << 8)
            high = high >> 4 ^ (_TABLE[k + 2] | _TABLE[k + 3] << 8)
    s[_CRC], s[_CRC + 1] = low, high
