"""Digest whole blocks of MD5 (RFC 1321, section 3.4) in native code.

RAM: 0.8 KB of heap (`.mpy`, measured on the 64-bit unix port) and, on the board, 672 bytes of IRAM.
Keep it in `sys.modules`: each import takes IRAM anew, and only a reset gives it back.
"""

import micropython
from micropython import const

# Words of the work buffer; see ota/md5.py.
_A = const(4)
_B = const(5)
_C = const(6)
_D = const(7)
_COUNT = const(8)
_SINES = const(9)
_SHIFTS = const(73)
_DATA = const(77)


@micropython.viper
def blocks(w: ptr32):
    """Digest the blocks in the work buffer `w`; leaves their count at 0.

    An int has 32 bits on the board and 64 on a PC. Whatever could grow past 32 goes through a
    word of `w`, which cuts it and, read as a uint, is never negative: no mask, which would be no
    small int. Written for few bytes of Xtensa code: `x` lives in a register, and each expression
    works on what it computed last, so that little is spilled.
    """
    x = 0
    data = _DATA
    while w[_COUNT]:
        w[_A] = w[0]
        w[_B] = w[1]
        w[_C] = w[2]
        w[_D] = w[3]
        i = 0
        while i < 64:
            x = w[_C]
            if i < 16:
                x = ((x ^ w[_D]) & w[_B]) ^ w[_D]
                k = i
            elif i < 32:
                x = ((x ^ w[_B]) & w[_D]) ^ x
                k = i * 5 + 1
            elif i < 48:
                x = x ^ w[_B] ^ w[_D]
                k = i * 3 + 5
            else:
                x = ((w[_D] ^ -1) | w[_B]) ^ x
                k = i * 7
            w[_A] = x + w[_A] + w[i + _SINES] + w[(k & 15) + data]
            a = uint(w[_A])
            x = w[(i >> 4) + _SHIFTS] >> ((i & 3) << 3) & 31
            x = int(a << x | a >> (32 - x)) + w[_B]
            w[_A] = w[_D]
            w[_D] = w[_C]
            w[_C] = w[_B]
            w[_B] = x
            i += 1
        x = w[0]
        w[0] = x + w[_A]
        x = w[1]
        w[1] = x + w[_B]
        x = w[2]
        w[2] = x + w[_C]
        x = w[3]
        w[3] = x + w[_D]
        data += 16
        w[_COUNT] = w[_COUNT] - 1
