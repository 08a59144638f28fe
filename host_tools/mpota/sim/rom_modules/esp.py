"""The board's `esp`: flash that keeps the rules of NOR, and loses power where it was told to."""

import control
import power
import uctypes
from micropython import const

_SECTOR = const(4096)
_USER_START = const(0x100000)
# The boot ROM's SPIWrite programs so many bytes at a time, one unit after the other: nothing of a
# program's end is there while its beginning is not.
_UNIT = const(32)

_flash = None


def attach(address, size):
    """Map the flash image, *size* bytes at *address*."""
    global _flash
    _flash = memoryview(uctypes.bytearray_at(address, size))


@micropython.viper
def _sets_a_bit(old: ptr8, new: ptr8, n: int) -> bool:
    for i in range(n):
        if new[i] & (old[i] ^ 0xFF):
            return True
    return False


@micropython.viper
def _fill(at: ptr8, value: int, n: int):
    for i in range(n):
        at[i] = value


def _violation(text):
    power.add(control.VIOLATIONS)
    page = power.page()
    if page[control.VIOLATION_TEXT] == 0:
        raw = text.encode()[:127]
        page[control.VIOLATION_TEXT : control.VIOLATION_TEXT + len(raw)] = raw
    raise ValueError(text)


def _kept(mode, i, n):
    # Whether byte i of n is carried out by an operation that the power cut tears.
    if mode == 1:
        return i < n // 2
    if mode == 2:
        unit = min(n, _UNIT) if n < _SECTOR else n
        return unit // 2 <= i < unit
    if mode == 3:
        return i // 4 % 2 == 0
    return mode == 4 and i < n - 1


def _count_operation(offset, n, new):
    # Before each program (new: its bytes) and erase (new: None): the moment a power cut can hit.
    if power.word(control.OPERATIONS) >= power.word(control.CUT_AFTER):
        mode = power.word(control.TORN)
        for i in range(n):
            if _kept(mode, i, n):
                _flash[offset + i] = 0xFF if new is None else new[i]
        power.down(control.REQUEST_POWER_CUT)
    power.add(control.OPERATIONS)


def flash_size():
    return len(_flash)


def flash_id():
    return 0x1640EF


def flash_user_start():
    return _USER_START


def flash_read(offset, len_or_buf):
    buf = bytearray(len_or_buf) if isinstance(len_or_buf, int) else len_or_buf
    if offset < 0 or offset + len(buf) > len(_flash):
        _violation("read outside the flash: %d bytes at %#x" % (len(buf), offset))
    memoryview(buf)[:] = _flash[offset : offset + len(buf)]
    return bytes(buf) if isinstance(len_or_buf, int) else None


def flash_write(offset, buf):
    n = len(buf)
    if n % 4 or offset % 4:
        _violation("len must be multiple of 4: %d bytes at %#x" % (n, offset))
    if offset < 0 or offset + n > len(_flash):
        _violation("program outside the flash: %d bytes at %#x" % (n, offset))
    target = _flash[offset : offset + n]
    if _sets_a_bit(target, buf, n):
        _violation("program sets a bit that is not erased: %d bytes at %#x" % (n, offset))
    _count_operation(offset, n, buf)
    target[:] = buf
    power.add(control.PROGRAMS)
    power.add(control.BYTES_PROGRAMMED, n)


def flash_erase(sector):
    offset = sector * _SECTOR
    if offset < 0 or offset + _SECTOR > len(_flash):
        _violation("erase outside the flash: sector %d" % sector)
    _count_operation(offset, _SECTOR, None)
    _fill(_flash[offset:], 0xFF, _SECTOR)
    power.add(control.ERASES)


def freemem():
    return 20000


def check_fw():
    return True


def osdebug(level=None):
    pass
