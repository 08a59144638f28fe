"""One boot of the board, in a process of its own: flash and control page mapped, MicroPython run.

Started by `BoardProcess`, as `python -S -E one_boot.py SITE FLASH CONTROL_FD ROM NAMES HEAP
SCRIPT…`. The board's own modules sit in a ROM outside the heap and run in place, as the chip's do.
"""

import ctypes
import mmap
import os
import sys

import names_in_flash
import timer_interrupt

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9

# It is compiled in the board's heap and stays there, so the rest is in rom_modules/power.py.
_PROGRAM = """
import sys, uctypes, vfs
rom = vfs.VfsRom(uctypes.bytearray_at({}, {}))
vfs.mount(rom, "/rom")
sys.path[:] = ["/rom"]
import power
power.on(rom, {}, {}, {}, {})
"""


def _map(fd: int, access: int) -> mmap.mmap:
    return mmap.mmap(fd, os.fstat(fd).st_size, access=access)


def _address(mapped: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(mapped))


def main() -> None:
    site, flash_path, control_fd, rom_path, names, heap, *scripts = sys.argv[1:]
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    sys.path.append(site)
    import micropython_run

    # Called by its C entry, the interpreter leaves Python's other threads running.
    interpreter = ctypes.CDLL(micropython_run.__file__)
    names_in_flash.add(interpreter, names.split("\n"))
    flash = _map(os.open(flash_path, os.O_RDWR), mmap.ACCESS_WRITE)
    control = _map(int(control_fd), mmap.ACCESS_WRITE)
    rom = _map(os.open(rom_path, os.O_RDONLY), mmap.ACCESS_COPY)
    timer_interrupt.start(interpreter, control)
    program = _PROGRAM.format(
        _address(rom), len(rom), _address(control), _address(flash), len(flash), scripts
    )
    arguments = ["micropython", "-X", f"heapsize={heap}", "-c", program]
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*[argument.encode() for argument in arguments])
    interpreter.micropython_unix_main(len(arguments), argv)


main()
