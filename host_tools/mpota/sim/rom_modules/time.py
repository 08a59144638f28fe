"""The board's `time`: the interpreter's own, in a module that machine_clocks.py can change."""

import utime


def __getattr__(name):
    if name == "__all__":  # of `from time import *`
        return [name for name in dir(utime) if name[0] != "_"]
    return getattr(utime, name)
