"""The memory that the board shares with its keeper (see control.py), and how a boot ends."""

import os

import control
import uctypes

page = None  # the control page as a bytearray
words = None  # the same as unsigned words: words[control.FED // 4]

# How many calls deep the program is in what is one step on the chip: no timer is called meanwhile.
busy = 0


def share(address):
    """Use the control page that is at *address*."""
    global page, words
    page = uctypes.bytearray_at(address, control.SIZE)
    words = uctypes.struct(address, (uctypes.ARRAY, control.SIZE // 4 | uctypes.UINT32))


def text(at):
    """Return the text that is in the control page at *at*."""
    raw = bytes(page[at : at + control.TEXT_SIZE])
    return raw[: raw.find(b"\0")].decode()


def set_text(at, value):
    """Put *value*, text or bytes, into the control page at *at*, cut to control.TEXT_LENGTH."""
    raw = (value.encode() if isinstance(value, str) else value)[: control.TEXT_LENGTH]
    page[at : at + control.TEXT_SIZE] = raw + bytes(control.TEXT_SIZE - len(raw))


def down(request):
    """End this boot at once: no finally block and no buffer flush runs, as on the chip."""
    words[control.REQUEST // 4] = request
    os.system("kill -KILL $PPID")
