"""The board's block device, `bdev`: the flash from 1 MiB to 20 KiB before its end."""

import esp

_FIRST_SECTOR = 0x100  # that of esp.flash_user_start()
_RESERVED_SECTORS = 5  # at the end, of the SDK


class FlashBdev:
    SEC_SIZE = 4096
    start_sec = _FIRST_SECTOR

    def readblocks(self, n, buf, off=0):
        esp.flash_read((n + _FIRST_SECTOR) * self.SEC_SIZE + off, buf)

    def writeblocks(self, n, buf, off=None):
        if off is None:
            esp.flash_erase(n + _FIRST_SECTOR)
            off = 0
        esp.flash_write((n + _FIRST_SECTOR) * self.SEC_SIZE + off, buf)

    def ioctl(self, op, arg):
        if op == 4:
            return esp.flash_size() // self.SEC_SIZE - _RESERVED_SECTORS - _FIRST_SECTOR
        if op == 5:
            return self.SEC_SIZE
        if op == 6:
            esp.flash_erase(arg + _FIRST_SECTOR)
            return 0
        return None


bdev = FlashBdev()
