"""The board's serial ports: what is written to the first is on the console, to the second is lost.
Nothing ever comes from them.
"""

import io
import sys

# MP_STREAM_FLUSH, MP_STREAM_POLL and the flag for "can be written" of MicroPython's py/stream.h
_FLUSH = 1
_POLL = 3
_WRITABLE = 4


class UART(io.IOBase):
    def __init__(self, id, baudrate=115200, bits=8, parity=None, stop=1, **options):
        if id not in (0, 1):
            raise ValueError("UART(%d) does not exist" % id)
        self._id = id
        self.init(baudrate, bits, parity, stop, **options)

    def init(self, baudrate=0, bits=8, parity=None, stop=1, *, tx=None, rx=None, rxbuf=0,
             timeout=0, timeout_char=0):  # fmt: skip
        if bits not in (0, 5, 6, 7, 8):
            raise ValueError("invalid data bits")
        if stop not in (0, 1, 2):
            raise ValueError("invalid stop bits")

    def deinit(self):
        pass

    def any(self):
        return 0

    def txdone(self):
        return True

    def flush(self):
        pass

    def read(self, size=-1):
        if self._id == 1:
            raise OSError("UART(1) can't read")

    def readinto(self, buf, size=-1):
        return self.read()

    readline = read

    def write(self, buf):
        if self._id == 0:
            sys.stdout.buffer.write(buf)
        return len(buf)

    def ioctl(self, request, arg):
        if request == _POLL:
            return arg & _WRITABLE
        return 0 if request == _FLUSH else -1
