"""The first MiB of the board's flash in its memory, at the address that it has on the chip."""

import ctypes
import mmap

from rom_modules import control

_MAP_FIXED_NOREPLACE = 0x100000  # of Linux, since 4.17


def map_flash(flash: mmap.mmap) -> None:
    """Copy the beginning of *flash* to control.MAPPED_AT, to be read only.

    Writes to *flash* do not show there before the next boot, as the chip's cache may go on to show
    what flash was. Raises RuntimeError when the address is taken.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
    ]  # fmt: skip
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED_NOREPLACE
    access = mmap.PROT_READ | mmap.PROT_WRITE
    address = libc.mmap(control.MAPPED_AT, control.MAPPED_SIZE, access, flags, -1, 0)
    if address != control.MAPPED_AT:
        raise RuntimeError(f"the address {control.MAPPED_AT:#x} of the mapped flash is taken")
    ctypes.memmove(address, ctypes.byref(ctypes.c_char.from_buffer(flash)), control.MAPPED_SIZE)
    libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(control.MAPPED_SIZE), mmap.PROT_READ)
