"""Flash that is watched, flash that fails and flash that is full, for the tests on the board."""

import os

from ota import hal


class Os:
    """`os` with some of its functions replaced, to be set in a module instead of its own `os`."""

    def __init__(self, **functions):
        self._functions = functions

    def __getattr__(self, name):
        return self._functions.get(name) or getattr(os, name)


def fails(*args):
    """Fail as a function of `os` does when the flash does not answer."""
    raise OSError(5)


class Watched:
    """While this is entered, `done` lists the operations on the flash outside of the file system.

    `done` is a list of ("read" | "program" | "erase", offset, bytes). `before(action, offset,
    bytes)`, if set, is called first and may raise; `spoil(offset, buffer)` may change what was
    read.
    """

    before = spoil = None

    def __enter__(self):
        self.done = []
        self._real = hal.flash_read, hal.flash_write, hal.flash_erase
        hal.flash_read, hal.flash_write, hal.flash_erase = self._read, self._write, self._erase
        return self

    def __exit__(self, *_):
        hal.flash_read, hal.flash_write, hal.flash_erase = self._real

    def of(self, *actions):
        """Return those entries of `done` whose action is one of *actions*."""
        return [entry for entry in self.done if entry[0] in actions]

    def _note(self, *entry):
        if self.before:
            self.before(*entry)
        self.done.append(entry)

    def _read(self, offset, buffer):
        self._note("read", offset, len(buffer))
        self._real[0](offset, buffer)
        if self.spoil:
            self.spoil(offset, buffer)

    def _write(self, offset, buffer):
        self._note("program", offset, len(buffer))
        self._real[1](offset, buffer)

    def _erase(self, sector):
        self._note("erase", sector * 4096, 4096)
        self._real[2](sector)


def fill_up():
    """Write files until nothing more fits; return their names."""
    names = []
    block = bytes(4096)
    n = os.statvfs("/")[3] - 8
    while n:
        name = "/full%d" % len(names)
        try:
            with open(name, "wb") as f:
                for _ in range(n):
                    f.write(block)
            names.append(name)
            n = min(n, os.statvfs("/")[3])
        except OSError:
            os.remove(name)
            n //= 2
    return names
