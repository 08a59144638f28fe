"""Flash calls that NOR flash would not carry out as asked, and what a power cut leaves of one."""

import control
import esp
import power
from micropython import const

_SECTOR = const(4096)
# The boot ROM's SPIWrite programs so many bytes at a time, one unit after the other: nothing of a
# program's end is there while its beginning is not.
_UNIT = const(32)


_WHY = {
    "outside": "%s outside the flash",
    "unaligned": "%s: len must be multiple of 4",
    "sets a bit": "%s sets a bit that is not erased",
}


def violation(action, offset, n, why):
    """Count a call for *n* bytes at *offset*, keep what was wrong with the first; raise ValueError.

    *why* is a key of `_WHY`.
    """
    text = _WHY[why] % action + ": %d bytes at %#x" % (n, offset)
    power.words[control.VIOLATIONS // 4] += 1
    page = power.page
    if page[control.VIOLATION_TEXT] == 0:
        raw = text.encode()[:127]
        page[control.VIOLATION_TEXT : control.VIOLATION_TEXT + len(raw)] = raw
    raise ValueError(text)


def tear(offset, n, new):
    """Carry out a part of a program (*new*: its bytes) or of an erase (None)."""
    mode = power.words[control.TORN // 4]
    for i in range(n):
        if _is_kept(mode, i, n):
            esp.flash[offset + i] = 0xFF if new is None else new[i]


def _is_kept(mode, i, n):
    if mode == 1:
        return i < n // 2
    if mode == 2:
        unit = min(n, _UNIT) if n < _SECTOR else n
        return unit // 2 <= i < unit
    if mode == 3:
        return i // 4 % 2 == 0
    return mode == 4 and i < n - 1
