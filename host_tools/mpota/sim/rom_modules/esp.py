"""The board's `esp`: flash with the rules of NOR, whose power fails when the keeper wants it."""

import control
import machine_rtc
import shared
import uctypes
from flash_faults import tear, violation
from micropython import const

_SECTOR = const(4096)
_PAGE = const(256)
_USER_START = const(0x100000)
_FIRMWARE = const(0xE9)
# By the upper half of the header's byte 3, in KiB.
_SIZES = (512, 256, 1024, 2048, 4096, 0, 0, 0, 8192, 16384)

SLEEP_NONE = 0
SLEEP_LIGHT = 1
SLEEP_MODEM = 2

_flash = None  # memoryview of the flash image


def use_flash(at, size):
    """Use the *size* bytes at address *at* as the chip's flash."""
    global _flash
    _flash = memoryview(uctypes.bytearray_at(at, size))


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


def _check(action, offset, n, buf=None):
    # The chip itself checks only the length of a program. With an offset or a buffer that is not
    # aligned to 4, it reads or writes other bytes than asked for, without an error.
    if offset < 0 or offset + n > len(_flash):
        violation(action + " outside the flash", offset, n)
    if n % 4:
        violation(action + ": len must be multiple of 4", offset, n)
    if offset % 4:
        violation(action + ": offset must be multiple of 4", offset, n)
    if buf is not None and uctypes.addressof(buf) % 4:
        violation(action + ": buffer must be aligned to 4", offset, n)


def _count_operation(offset, n, new):
    # Before each program (new: its bytes) and erase (new: None): the moment a power cut can hit.
    words = shared.words
    if words[control.OPERATIONS // 4] >= words[control.CUT_AFTER // 4]:
        if words[control.TORN // 4]:
            tear(_flash[offset : offset + n], new)
        shared.down(control.REQUEST_POWER_CUT)
    words[control.OPERATIONS // 4] += 1


def flash_read(offset, len_or_buf):
    shared.busy += 1
    try:
        buf = bytearray(len_or_buf) if isinstance(len_or_buf, int) else len_or_buf
        n = len(buf)
        _check("read", offset, n, buf)
        memoryview(buf)[:] = _flash[offset : offset + n]
        shared.words[control.BYTES_READ // 4] += n
        return bytes(buf) if isinstance(len_or_buf, int) else None
    finally:
        shared.busy -= 1


def flash_write(offset, buf):
    shared.busy += 1
    try:
        n = len(buf)
        _check("program", offset, n, buf)
        if control.MAPPED_AT <= uctypes.addressof(buf) < control.MAPPED_AT + control.MAPPED_SIZE:
            # The chip cannot read from its flash while it programs it.
            violation("program: buffer is in mapped flash", offset, n)
        target = _flash[offset : offset + n]
        if _sets_a_bit(target, buf, n):
            violation("program sets a bit that is not erased", offset, n)
        _count_operation(offset, n, buf)
        target[:] = buf
        words = shared.words
        words[control.PROGRAMS // 4] += 1
        words[control.PAGES // 4] += (offset + n + _PAGE - 1) // _PAGE - offset // _PAGE
        words[control.BYTES_PROGRAMMED // 4] += n
    finally:
        shared.busy -= 1


def flash_erase(sector):
    shared.busy += 1
    try:
        offset = sector * _SECTOR
        _check("erase", offset, _SECTOR)
        _count_operation(offset, _SECTOR, None)
        _fill(_flash[offset:], 0xFF, _SECTOR)
        shared.words[control.ERASES // 4] += 1
    finally:
        shared.busy -= 1


def flash_size():
    # As on the chip: what the header of the firmware says, if there is one.
    code = _flash[3] >> 4
    if _flash[0] != _FIRMWARE or code >= len(_SIZES) or not _SIZES[code]:
        return len(_flash)
    return _SIZES[code] * 1024


def flash_id():
    return 0x1640EF


def flash_user_start():
    return _USER_START


def freemem():
    return 20000


def check_fw():
    return True


def osdebug(level=None):
    pass


def sleep_type(kind=None):
    return SLEEP_MODEM if kind is None else None


def deepsleep(us=0, option=0):
    machine_rtc.sleep_deeply((us + 999) // 1000 if us else None)


def apa102_write(clock_pin, data_pin, buf):
    pass
