"""The board's block device, `bdev`: the flash from 1 MiB to 20 KiB before its end.

It is this module itself: a class and its object would take up more heap.
"""

import sys

import esp
from micropython import const

SEC_SIZE = 4096

_START = const(0x100)  # sector of esp.flash_user_start()
_RESERVED = const(5)  # sectors at the end, of the SDK

bdev = sys.modules["flashbdev"]


def readblocks(n, buf, off=0):
    esp.flash_read((n + _START) * 4096 + off, buf)


def writeblocks(n, buf, off=None):
    if off is None:
        ioctl(6, n)
        off = 0
    esp.flash_write((n + _START) * 4096 + off, buf)


def ioctl(op, arg):
    if op == 4:
        return len(esp.flash) // 4096 - _RESERVED - _START
    if op == 5:
        return 4096
    if op == 6:
        esp.flash_erase(arg + _START)
        return 0
    return None
