"""Flash calls that the chip would carry out in another way than asked, and those that a power cut
interrupts."""

import control
import shared

_SECTOR = 4096
# The boot ROM's SPIWrite programs so many bytes at a time, one unit after the other: nothing of a
# program's end is there while its beginning is not.
_UNIT = 32


def violation(what, offset, n):
    """Count a call for *n* bytes at *offset*, keep what was wrong with the first; raise ValueError.

    *what* says what the call did, like "read outside the flash".
    """
    text = "%s: %d bytes at %#x" % (what, n, offset)
    shared.words[control.VIOLATIONS // 4] += 1
    page = shared.page
    if page[control.VIOLATION_TEXT] == 0:
        raw = text.encode()[:127]
        page[control.VIOLATION_TEXT : control.VIOLATION_TEXT + len(raw)] = raw
    raise ValueError(text)


def tear(target, new):
    """Carry out a part of a program (*new*: its bytes) or of an erase (None) of *target*."""
    mode = shared.words[control.TORN // 4]
    n = len(target)
    for i in range(n):
        if _is_kept(mode, i, n):
            target[i] = 0xFF if new is None else new[i]


def _is_kept(mode, i, n):
    if mode == 1:
        return i < n // 2
    if mode == 2:
        unit = min(n, _UNIT) if n < _SECTOR else n
        return unit // 2 <= i < unit
    if mode in (3, 4):
        return i // 4 % 2 == mode - 3
    return mode == 5 and i < n - 1
