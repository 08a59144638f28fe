"""Digest whole blocks of MD5 (RFC 1321, section 3.4) where native code cannot be used.

RAM: 1.1 KB of heap (`.mpy`, measured on the 64-bit unix port). Words are worked on as halves of 16
bits: on the board an int of 32 bits would be an object on the heap, one for each operation.
"""

from micropython import const

# Bytes of the work buffer; see ota/md5.py.
_COUNT = const(32)
_SINES = const(36)
_SHIFTS = const(292)
_DATA = const(308)


def blocks(w):
    """Digest the blocks in the work buffer `w`; leaves their count at 0."""
    data = _DATA
    while w[_COUNT]:
        al = w[0] | w[1] << 8
        ah = w[2] | w[3] << 8
        bl = w[4] | w[5] << 8
        bh = w[6] | w[7] << 8
        cl = w[8] | w[9] << 8
        ch = w[10] | w[11] << 8
        dl = w[12] | w[13] << 8
        dh = w[14] | w[15] << 8
        for i in range(64):
            if i < 16:
                low = ((cl ^ dl) & bl) ^ dl
                high = ((ch ^ dh) & bh) ^ dh
                k = i
            elif i < 32:
                low = ((bl ^ cl) & dl) ^ cl
                high = ((bh ^ ch) & dh) ^ ch
                k = i * 5 + 1
            elif i < 48:
                low = bl ^ cl ^ dl
                high = bh ^ ch ^ dh
                k = i * 3 + 5
            else:
                low = ((dl ^ 0xFFFF) | bl) ^ cl
                high = ((dh ^ 0xFFFF) | bh) ^ ch
                k = i * 7
            k = data + ((k & 15) << 2)
            t = _SINES + (i << 2)
            low += al + w[t] + w[k] + ((w[t + 1] + w[k + 1]) << 8)
            high += ah + w[t + 2] + w[k + 2] + ((w[t + 3] + w[k + 3]) << 8) + (low >> 16)
            low &= 0xFFFF
            high &= 0xFFFF
            s = w[_SHIFTS + (i >> 4 << 2) + (i & 3)]
            if s > 15:
                low, high = high, low
                s -= 16
            # What a shift moves out is cut first: 16 bits shifted by 15 are no small int.
            mask = 0xFFFF >> s
            x = bl + ((low & mask) << s | high >> (16 - s))
            y = bh + ((high & mask) << s | low >> (16 - s)) + (x >> 16)
            # One by one: a tuple of four would be made on the heap each time.
            al = dl
            ah = dh
            dl = cl
            dh = ch
            cl = bl
            ch = bh
            bl = x & 0xFFFF
            bh = y & 0xFFFF
        _add(w, 0, al, ah)
        _add(w, 4, bl, bh)
        _add(w, 8, cl, ch)
        _add(w, 12, dl, dh)
        data += 64
        w[_COUNT] -= 1


def _add(w, at, low, high):
    low += w[at] | w[at + 1] << 8
    high += (w[at + 2] | w[at + 3] << 8) + (low >> 16)
    w[at] = low & 0xFF
    w[at + 1] = low >> 8 & 0xFF
    w[at + 2] = high & 0xFF
    w[at + 3] = high >> 8 & 0xFF
