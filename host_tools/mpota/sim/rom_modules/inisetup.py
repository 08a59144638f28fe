"""What the firmware does with a file system that cannot be mounted, as its own inisetup.py."""

import time

import control
import network
import shared
import vfs
from flashbdev import bdev

_SECTOR = 4096
_CORRUPT = "The filesystem starting at sector %d with size %d sectors looks corrupt."


def setup():
    """Format a flash that is blank, and mount it at `/`; say for ever that another is corrupt."""
    first = bytearray(_SECTOR)
    bdev.readblocks(0, first)
    shared.words[control.MAY_INTERRUPT // 4] = 1  # of what is said for ever
    while first != b"\xff" * _SECTOR:
        print(_CORRUPT % (bdev.start_sec, bdev.ioctl(4, 0)))
        time.sleep(3)
    print("Performing initial setup")
    network.WLAN(network.AP_IF).active(True)
    vfs.VfsLfs2.mkfs(bdev)
    vfs.mount(bdev, "/")
    with open("/boot.py", "w") as f:
        f.write("# This file is executed on every boot\n")
