"""The board's power: the memory it shares with its keeper, and the ways it goes down."""

import os

import control
import uctypes

_page = None


def attach(address):
    """Map the control page at *address*, an int."""
    global _page
    _page = uctypes.bytearray_at(address, control.SIZE)


def page():
    """Return the control page, a bytearray outside the heap."""
    return _page


def word(offset):
    return int.from_bytes(memoryview(_page)[offset : offset + 4], "little")


def set_word(offset, value):
    _page[offset] = value & 255
    _page[offset + 1] = value >> 8 & 255
    _page[offset + 2] = value >> 16 & 255
    _page[offset + 3] = value >> 24 & 255


def add(offset, n=1):
    set_word(offset, word(offset) + n)


def down(request):
    """End this boot at once: no finally block and no buffer flush runs, as on the chip."""
    set_word(control.REQUEST, request)
    os.system("kill -KILL $PPID")
