"""The board's power, and what is outside its heap: the memory that it shares with its keeper, and
the ROM, whose less used modules are loaded when they are asked for and not kept.
"""

import gc
import os
import sys
import time

import __main__
import control
import uctypes
import vfs

page = None  # the control page
words = None  # the same as words: words[control.FED // 4]
_rom = None  # the file system of the ROM

# How many calls deep the program is in what is one step on the chip: no timer is called meanwhile.
busy = 0


def load(name, attribute):
    """Return *attribute* of the ROM's module *name*, loaded, and kept as long as it is in use.

    Raises AttributeError.
    """
    global busy
    busy += 1
    folders = sys.path[:]
    is_mounted = "/rom" in folders  # while the board starts
    if not is_mounted:
        sys.path[:] = ["/rom"]
        vfs.mount(_rom, "/rom")
    try:
        module = __import__(name)
        sys.modules.pop(name)
    finally:
        if not is_mounted:
            vfs.umount("/rom")
            sys.path[:] = folders
        busy -= 1
    return getattr(module, attribute)


def look_up(table, name):
    """Return what *table* has for *name*: a number, or an attribute of the ROM module it names.

    It is text, ` NAME=value NAME=value `, since that takes up no heap. Raises AttributeError.
    """
    at = table.find(" " + name + "=")
    if at < 0:
        raise AttributeError(name)
    at += len(name) + 2
    value = table[at : table.find(" ", at)]
    return int(value) if value.isdigit() else load(value, name)


def text(at):
    """Return the text that is in the control page at *at*, of less than control.TEXT_SIZE bytes."""
    raw = bytes(page[at : at + control.TEXT_SIZE])
    return raw[: raw.find(b"\0")].decode()


def down(request):
    """End this boot at once: no finally block and no buffer flush runs, as on the chip."""
    words[control.REQUEST // 4] = request
    os.system("kill -KILL $PPID")


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


def on(rom, control_at, flash_at, flash_size, scripts):
    """Do what the chip and the frozen `_boot.py` do: mount the flash's file system at '/'.

    Then run *scripts*, `boot.py` and `main.py`, one after the other, and never return. The control
    page and the flash are in the memory of this process, at the addresses given.
    """
    global page, words, _rom
    _rom = rom
    page = uctypes.bytearray_at(control_at, control.SIZE)
    words = uctypes.struct(control_at, (uctypes.ARRAY, control.SIZE // 4 | uctypes.UINT32))
    # While sys.path names the ROM alone: these take the place of the interpreter's own.
    import esp
    import flashbdev
    import hashlib  # noqa: F401
    import machine  # noqa: F401
    import network  # noqa: F401
    import socket  # noqa: F401

    load("network_wlan", "reset")()
    esp.flash = memoryview(uctypes.bytearray_at(flash_at, flash_size))

    vfs.umount("/rom")
    vfs.umount("/")
    sys.path[:] = ["", ".frozen", "/lib", "/"]
    gc.threshold((gc.mem_free() + gc.mem_alloc()) // 4)
    vfs.mount(flashbdev.bdev, "/")
    os.chdir("/")
    names = __main__.__dict__
    names.clear()
    names["__name__"] = "__main__"
    gc.collect()
    for script in scripts:
        if not _run(script):
            break
    while True:  # the prompt of a board that nobody types to
        time.sleep_ms(50)
