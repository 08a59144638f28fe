"""Flash that fails and flash that is full, for the tests that run on the board."""

import os


class Os:
    """`os` with some of its functions replaced: a module is given it in place of its own."""

    def __init__(self, **functions):
        self._functions = functions

    def __getattr__(self, name):
        return self._functions.get(name) or getattr(os, name)


def fails(*args):
    """Fail as a function of `os` does when the flash does not answer."""
    raise OSError(5)


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
