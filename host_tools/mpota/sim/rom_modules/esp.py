"""The board's `esp`: flash that keeps the rules of NOR, and loses power where it was told to."""

import control
import power
from micropython import const
from uctypes import addressof

_SECTOR = const(4096)

# Set by power.py: the address of the flash in the memory of this process, and its size in bytes.
flash_at = 0
size = 0


def __getattr__(name):
    return power.look_up(
        " flash_size=esp_chip flash_id=esp_chip flash_user_start=esp_chip freemem=esp_chip"
        " check_fw=esp_chip osdebug=esp_chip ",
        name,
    )


@micropython.viper
def _sets_a_bit(old: int, new: int, n: int) -> bool:
    old_bytes = ptr8(old)
    new_bytes = ptr8(new)
    for i in range(n):
        if new_bytes[i] & (old_bytes[i] ^ 0xFF):
            return True
    return False


@micropython.viper
def _copy(to: int, source: int, n: int):
    to_bytes = ptr8(to)
    source_bytes = ptr8(source)
    for i in range(n):
        to_bytes[i] = source_bytes[i]


@micropython.viper
def _erase(at: int):
    at_bytes = ptr8(at)
    for i in range(_SECTOR):
        at_bytes[i] = 0xFF


def _check(is_wrong, action, offset, n, why):
    # *why* is a short name for what flash_faults.py says.
    if is_wrong or offset < 0 or offset + n > size:
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
        n = len(buf)
        _check(False, "read", offset, n, "")
        _copy(addressof(buf), flash_at + offset, n)
        return bytes(buf) if isinstance(len_or_buf, int) else None
    finally:
        power.busy -= 1


def flash_write(offset, buf):
    power.busy += 1
    try:
        n = len(buf)
        _check(n % 4 or offset % 4, "program", offset, n, "unaligned")
        is_wrong = _sets_a_bit(flash_at + offset, addressof(buf), n)
        _check(is_wrong, "program", offset, n, "sets a bit")
        _count_operation(offset, n, buf)
        _copy(flash_at + offset, addressof(buf), n)
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
        _erase(flash_at + offset)
        power.words[control.ERASES // 4] += 1
    finally:
        power.busy -= 1
