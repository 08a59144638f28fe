"""The board's `vfs`: the interpreter's, with the partition for ROMFS that the chip's has."""

import control
import uctypes
from vfs import *  # noqa: F403

_PARTITION_START = 0x0B0000
_EINVAL = 22


def rom_ioctl(request, *arguments):
    """Return the number of partitions (1), or the mapped partition as a memoryview (2, 0)."""
    if request == 1:
        return 1
    if request == 2 and arguments == (0,):
        size = control.MAPPED_SIZE - _PARTITION_START
        return memoryview(uctypes.bytearray_at(control.MAPPED_AT + _PARTITION_START, size))
    return -_EINVAL
