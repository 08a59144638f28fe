"""One boot of the board, in a process of its own: flash and control page mapped, MicroPython run.

Started by `Board` as `python -S -E one_boot.py SITE FLASH CONTROL_FD ROM HEAP SCRIPT…`. The board's
own modules sit in a ROM outside the heap and run in place, as the chip's do.
"""

import ctypes
import mmap
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

# What the ROM's modules take up in the interpreter's heap, where the chip's are in its flash. It is
# added, so that boot.py finds as much as in an interpreter that was started bare with HEAP.
_OWN_HEAP_BYTES = 9200

# Filled in: where the ROM, the control page and the flash are mapped.
_PROGRAM = """
import sys, uctypes, vfs
rom = vfs.VfsRom(uctypes.bytearray_at({rom}, {rom_size}))
vfs.mount(rom, "/rom")
sys.path[:] = ["/rom"]
import power
power.rom = rom
power.page = uctypes.bytearray_at({control}, {control_size})
power.words = uctypes.struct({control}, (uctypes.ARRAY, {control_size} // 4 | uctypes.UINT32))
import esp
esp.flash = memoryview(uctypes.bytearray_at({flash}, {flash_size}))
power.on({scripts})
"""


def _map(fd: int, access: int) -> mmap.mmap:
    return mmap.mmap(fd, os.fstat(fd).st_size, access=access)


def _address(mapped: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(mapped))


def _heap_bytes(size: str) -> int:
    units = {"k": 1024, "m": 1024 * 1024}
    return int(size[:-1]) * units[size[-1]] if size[-1] in units else int(size)


def main() -> None:
    site, flash_path, control_fd, rom_path, heap, *scripts = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.path.append(site)
    from micropython_run import run_main

    flash = _map(os.open(flash_path, os.O_RDWR), mmap.ACCESS_WRITE)
    control = _map(int(control_fd), mmap.ACCESS_WRITE)
    rom = _map(os.open(rom_path, os.O_RDONLY), mmap.ACCESS_COPY)
    program = _PROGRAM.format(
        rom=_address(rom),
        rom_size=len(rom),
        control=_address(control),
        control_size=len(control),
        flash=_address(flash),
        flash_size=len(flash),
        scripts=scripts,
    )
    heap_bytes = _heap_bytes(heap) + _OWN_HEAP_BYTES
    run_main(["micropython", "-X", f"heapsize={heap_bytes}", "-c", program])


main()
