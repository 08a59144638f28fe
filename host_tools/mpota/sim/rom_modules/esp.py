"""The board's `esp`: flash that keeps the rules of NOR, and loses power where it was told to."""

import control
import power
from micropython import const

_SECTOR = const(4096)

flash = None  # memoryview of the flash image; set by power.py


def __getattr__(name):
    return power.look_up(
        " flash_size=esp_chip flash_id=esp_chip flash_user_start=esp_chip freemem=esp_chip"
        " check_fw=esp_chip osdebug=esp_chip ",
        name,
    )


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


def _check(is_wrong, action, offset, n, why):
    # *why* is a short name for what flash_faults.py says.
    if is_wrong or offset < 0 or offset + n > len(flash):
        power.load("flash_faults", "violation")(action, offset, n, why if is_wrong else "outside")


def _count_operation(offset, n, new):
    # Before each program (new: its bytes) and erase (new: None): the moment a power cut can hit.
    words = power.words
    if words[control.OPERATIONS // 4] >= words[control.CUT_AFTER // 4]:
        if words[control.TORN // 4]:
            power.load("flash_faults", "tear")(offset, n, new)
        power.down(control.REQUEST_POWER_CUT)
    words[control.OPERATIONS // 4] += 1


def flash_read(offset, len_or_buf):
    power.busy += 1
    try:
        buf = bytearray(len_or_buf) if isinstance(len_or_buf, int) else len_or_buf
        _check(False, "read", offset, len(buf), "")
        memoryview(buf)[:] = flash[offset : offset + len(buf)]
        return bytes(buf) if isinstance(len_or_buf, int) else None
    finally:
        power.busy -= 1


def flash_write(offset, buf):
    power.busy += 1
    try:
        n = len(buf)
        _check(n % 4 or offset % 4, "program", offset, n, "unaligned")
        target = flash[offset : offset + n]
        _check(_sets_a_bit(target, buf, n), "program", offset, n, "sets a bit")
        _count_operation(offset, n, buf)
        target[:] = buf
        power.words[control.PROGRAMS // 4] += 1
        power.words[control.BYTES_PROGRAMMED // 4] += n
    finally:
        power.busy -= 1


def flash_erase(sector):
    power.busy += 1
    try:
        offset = sector * _SECTOR
        _check(False, "erase", offset, _SECTOR, "")
        _count_operation(offset, _SECTOR, None)
        _fill(flash[offset:], 0xFF, _SECTOR)
        power.words[control.ERASES // 4] += 1
    finally:
        power.busy -= 1
