"""The board's power: what chip, firmware and the frozen `_boot.py` do before boot.py runs."""

import gc
import os
import sys
import time

import __main__
import control
import esp
import flashbdev
import hashlib
import machine
import machine_chip
import network
import shared
import socket
import uctypes
import vfs

_SYSTEM_START = 0x0B0000  # of the partition, in flash: to the end of the memory map

# The firmware's own modules, in the order of the places that on() gets.
_BUILT_IN = (esp, hashlib, machine, network, socket)


def _build_in(places):
    # Lets an import find the board's modules in the interpreter's tables of built-in ones.
    for module, place in zip(_BUILT_IN, places):
        entry = uctypes.struct(place, {"name": uctypes.UINT64 | 0, "module": uctypes.UINT64 | 8})
        entry.name = id(module.__name__)
        entry.module = id(module)


def _begin_a_table_of_names(last_table_at):
    # Calls the newest table of names full, of 10 names: one of 20 follows, as the first of all.
    address = uctypes.struct(last_table_at, {"it": uctypes.UINT64 | 0}).it
    uctypes.struct(address, {"alloc": uctypes.UINT64 | 16}).alloc = 10


def _mount_rom():
    # As mp_init() of the firmware does; returns what it puts on the path.
    start = control.MAPPED_AT + _SYSTEM_START
    size = control.MAPPED_SIZE - _SYSTEM_START
    try:
        vfs.mount(vfs.VfsRom(uctypes.bytearray_at(start, size)), "/rom")
    except OSError:
        return []
    return ["/rom", "/rom/lib"]


def _mount_flash():
    # Returns whether there is a file system that can be read.
    try:
        vfs.mount(flashbdev.bdev, "/")
    except OSError:
        print("The filesystem looks corrupt.")  # as the firmware's inisetup.py says for ever
        return False
    os.chdir("/")
    return True


def _run(path):
    # Returns whether the next script is to run: as in the firmware, not after one that raised.
    try:
        with open(path) as script:
            code = compile(script.read(), path, "exec")
    except OSError:
        return True
    try:
        exec(code, __main__.__dict__)
    except BaseException as e:
        sys.print_exception(e)
        return False
    return True


def on(control_at, flash_at, flash_size, places, last_table_at, own_bytes, scripts):
    """Start the board, run *scripts*, `boot.py` and `main.py`, one by one, and never return.

    The control page and the flash are in the memory of this process, at the addresses given; the
    interpreter's entries for the board's own modules at *places*, and its pointer to the newest
    table of names at *last_table_at*. *own_bytes* are those of the heap that it has for these
    modules.
    """
    shared.share(control_at)
    esp.use_flash(flash_at, flash_size)
    machine_chip.start_rtc()
    network.reset_radio()
    vfs.umount(sys.path[0])
    vfs.umount("/")
    _build_in(places)
    sys.modules.clear()
    sys.modules["flashbdev"] = flashbdev  # a frozen module that the firmware has loaded by now
    sys.path[:] = ["", ".frozen"] + _mount_rom() + ["/lib", "/"]
    gc.threshold((gc.mem_free() + gc.mem_alloc() - own_bytes) // 4)
    is_mounted = _mount_flash()
    names = __main__.__dict__
    names.clear()
    names["__name__"] = "__main__"
    _begin_a_table_of_names(last_table_at)
    gc.collect()
    for script in scripts if is_mounted else ():
        if not _run(script):
            break
    while True:  # the prompt of a board that nobody types to
        time.sleep_ms(50)
