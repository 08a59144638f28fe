"""The board's power, and what is outside its heap: the memory that it shares with its keeper, and
the ROM, whose less used modules are loaded when they are asked for and not kept.
"""

import os
import sys

import control
import uctypes
import vfs

words = None  # the control page as words: words[control.FED // 4]
page = None  # the same as bytes
_rom = None


def attach(address, rom):
    """Map the control page at *address*, an int; *rom* is the mounted file system of the ROM."""
    global words, page, _rom
    words = uctypes.struct(address, (uctypes.ARRAY, control.SIZE // 4 | uctypes.UINT32))
    page = uctypes.bytearray_at(address, control.SIZE)
    _rom = rom


def load(name, attribute):
    """Return *attribute* of the ROM's module *name*, loaded, and kept as long as it is in use.

    Raises AttributeError.
    """
    folders = sys.path[:]
    is_mounted = "/rom" in folders  # while the board starts
    if not is_mounted:
        sys.path[:] = ["/rom"]
        vfs.mount(_rom, "/rom")
    try:
        module = __import__(name)
    finally:
        if not is_mounted:
            vfs.umount("/rom")
            sys.path[:] = folders
    sys.modules.pop(name)
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


def down(request):
    """End this boot at once: no finally block and no buffer flush runs, as on the chip."""
    words[control.REQUEST // 4] = request
    os.system("kill -KILL $PPID")
