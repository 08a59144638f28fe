"""The board's start: what the chip, the firmware and the frozen `_boot.py` do before boot.py."""

import gc
import os
import sys

import __main__
import chip_machine
import chip_micropython
import chip_os
import chip_time
import chip_vfs
import control
import esp
import flashbdev
import inisetup
import machine_rtc
import names
import network
import shared
import uctypes
import vfs
from micropython import const

_MOST_HOLES = const(500)
_LARGEST_HOLE = const(8192)
_SMALLEST_HOLE = const(32)

# The simulated board's modules that have another name than what they are for.
_OTHERS = (
    ("machine", chip_machine),
    ("micropython", chip_micropython),
    ("os", chip_os),
    ("time", chip_time),
    ("vfs", chip_vfs),
)


def _module(name):
    # Returns the name as the interpreter has it, and the module.
    for other, module in _OTHERS:
        if other == name:
            return other, module
    module = __import__(name)
    return module.__name__, module


def _build_in(places):
    # Lets an import find the board's modules in the interpreter's tables of built-in ones.
    entered = [
        _module(name) for name in names.REPLACED + names.ADDED + names.FROZEN + names.MISSING
    ]
    for (name, module), place in zip(entered, places):
        entry = uctypes.struct(place, {"name": uctypes.UINT64 | 0, "module": uctypes.UINT64 | 8})
        entry.name = id(name)
        entry.module = id(module)
    return entered


def _begin_a_table_of_names(last_table_at):
    # Calls the newest table of names full, of 10 names: one of 20 follows, as the first of all.
    address = uctypes.struct(last_table_at, {"it": uctypes.UINT64 | 0}).it
    uctypes.struct(address, {"alloc": uctypes.UINT64 | 16}).alloc = 10


def _fill_holes():
    # Returns blocks that take up what is free between the board's own modules: the memory that a
    # program finds is in one piece, as on the chip.
    filling = [None] * _MOST_HOLES
    gc.collect()
    end = uctypes.addressof(bytearray(_LARGEST_HOLE))
    gc.collect()
    count = 0
    size = _LARGEST_HOLE
    while size >= _SMALLEST_HOLE:
        block = bytearray(size)
        if uctypes.addressof(block) < end:
            filling[count] = block
            count += 1
        else:
            size //= 2
            gc.collect()
    return filling


def _mount_rom():
    # As mp_init() of the firmware does; returns what it puts on the path.
    try:
        vfs.mount(vfs.VfsRom(chip_vfs.rom_ioctl(2, 0)), "/rom")
    except OSError:
        return []
    return ["/rom", "/rom/lib"]


def _mount_flash():
    # As the frozen _boot.py does.
    try:
        vfs.mount(flashbdev.bdev, "/")
    except OSError:
        inisetup.setup()
    os.chdir("/")


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
    """Start the board and run *scripts*, `boot.py` and `main.py`, one by one. The prompt follows.

    The control page and the flash are in the memory of this process, at the addresses given; the
    interpreter's entries for the board's own modules at *places*, and its pointer to the newest
    table of names at *last_table_at*. *own_bytes* are those of the heap that it has for these
    modules.
    """
    shared.share(control_at)
    esp.use_flash(flash_at, flash_size)
    machine_rtc.start()
    network.reset_radio()
    entered = _build_in(places)
    vfs.umount(sys.path[0])
    vfs.umount("/")
    sys.modules.clear()
    sys.modules["flashbdev"] = flashbdev  # a frozen module that the firmware has loaded by now
    # The collector does not look into the interpreter's tables, but at what is mounted.
    flashbdev.kept = entered, _fill_holes()
    sys.path[:] = ["", ".frozen"] + _mount_rom() + ["/lib", "/"]
    _mount_flash()
    names = __main__.__dict__
    names.clear()
    names["__name__"] = "__main__"
    _begin_a_table_of_names(last_table_at)
    gc.collect()
    gc.threshold((gc.mem_free() + gc.mem_alloc() - own_bytes) // 4)
    shared.words[control.MAY_INTERRUPT // 4] = 1
    for script in scripts:
        if not _run(script):
            break
