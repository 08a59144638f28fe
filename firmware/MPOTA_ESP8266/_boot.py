# The first program on a board with this firmware; it replaces MicroPython's own _boot.py. It mounts
# the file system, tries again when that fails, and never formats a flash that is not blank.
import gc

gc.threshold((gc.mem_free() + gc.mem_alloc()) // 4)
import time

import vfs
from flashbdev import bdev

# If a read fails once, for instance while the power supply is still rising, nothing is lost.
_WAITS_MS = (0, 50, 500, 2000)
# littlefs keeps its superblock twice, in the first two sectors. One of them alone may be blank:
# the power can fail while it is rewritten.
_SUPERBLOCKS = 2


def mount():
    """Mount the file system at `/`; return whether that was possible."""
    for wait_ms in _WAITS_MS:
        time.sleep_ms(wait_ms)
        try:
            vfs.mount(bdev, "/")
            return True
        except OSError as e:
            print("boot: the file system is not mounted:", e)
    return False


def is_blank():
    """Whether nothing was ever written to the file system's place."""
    sector = bytearray(bdev.SEC_SIZE)
    for n in range(_SUPERBLOCKS):
        bdev.readblocks(n, sector)
        if sector.strip(b"\xff"):
            return False
    return True


if bdev and not mount():
    if is_blank():
        print("boot: a new file system")
        vfs.VfsLfs2.mkfs(bdev)
        vfs.mount(bdev, "/")
    else:
        import machine
        import micropython

        print("boot: it is left as it is. Ctrl-C leads to the prompt; else a reset in 60 s")
        micropython.kbd_intr(3)
        time.sleep(60)
        machine.reset()

gc.collect()
