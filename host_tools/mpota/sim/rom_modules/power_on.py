"""What the chip and the frozen `_boot.py` do before `boot.py`; then `boot.py` and `main.py`."""

import gc
import os
import sys

import __main__

# Imported while sys.path names the ROM alone: these take the place of the interpreter's own.
import esp  # noqa: F401
import flashbdev
import hashlib  # noqa: F401
import machine  # noqa: F401
import network  # noqa: F401
import select  # noqa: F401
import socket  # noqa: F401
import time
import vfs


def _run(path):
    # Returns whether the next script is to run: as in the firmware, not after one that raised.
    try:
        with open(path) as script:
            code = compile(script.read(), path, "exec")
    except OSError:
        return True
    try:
        exec(code, __main__.__dict__)
    except Exception as e:
        sys.print_exception(e)
        return False
    except SystemExit:
        return False  # to the prompt
    return True


def power_on(scripts):
    """Mount the flash's file system at '/' and run *scripts* one after the other; never return."""
    vfs.umount("/rom")
    vfs.umount("/")
    sys.path[:] = ["", ".frozen", "/lib", "/"]
    gc.threshold((gc.mem_free() + gc.mem_alloc()) // 4)
    vfs.mount(flashbdev.bdev, "/")
    os.chdir("/")
    gc.collect()
    for script in scripts:
        if not _run(script):
            break
    while True:  # the prompt of a board that nobody types to
        time.sleep_ms(50)
