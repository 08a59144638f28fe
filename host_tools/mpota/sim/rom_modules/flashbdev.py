"""The board's block device: the flash from `esp.flash_user_start()` to 20 KiB before its end."""

import esp


class FlashBdev:
    SEC_SIZE = 4096

    def __init__(self, start_sec, blocks):
        self.start_sec = start_sec
        self.blocks = blocks

    def readblocks(self, n, buf, off=0):
        esp.flash_read((n + self.start_sec) * 4096 + off, buf)

    def writeblocks(self, n, buf, off=None):
        if off is None:
            self.ioctl(6, n)
            off = 0
        esp.flash_write((n + self.start_sec) * 4096 + off, buf)

    def ioctl(self, op, arg):
        if op == 4:
            return self.blocks
        if op == 5:
            return 4096
        if op == 6:
            esp.flash_erase(self.start_sec + arg)
            return 0
        return None


_start = esp.flash_user_start() // 4096
bdev = FlashBdev(_start, esp.flash_size() // 4096 - 5 - _start)
