"""The board's buses: on I2C nothing answers, what SPI reads is 0, and what is written is lost."""

_ENODEV = 19


class SoftI2C:
    def __init__(self, scl, sda, *, freq=400000, timeout=50000):
        pass

    def init(self, scl, sda, *, freq=400000, timeout=50000):
        pass

    def start(self):
        pass

    deinit = stop = start

    def scan(self):
        return []

    def readfrom(self, address, *_, **__):
        raise OSError(_ENODEV)

    readfrom_into = writeto = writevto = readfrom
    readfrom_mem = readfrom_mem_into = writeto_mem = readfrom

    def readinto(self, buf, nack=True):
        buf[:] = b"\xff" * len(buf)  # nobody pulls the line down

    def write(self, buf):
        return 0


class SoftSPI:
    MSB = 0
    LSB = 1

    def __init__(self, baudrate=500000, *, polarity=0, phase=0, bits=8, firstbit=0,
                 sck=None, mosi=None, miso=None):  # fmt: skip
        if None in (sck, mosi, miso):
            raise ValueError("must specify all of sck/mosi/miso")

    def init(self, baudrate=-1, polarity=-1, phase=-1, **options):
        pass

    def deinit(self):
        pass

    def read(self, size, write=0):
        return bytes(size)

    def readinto(self, buf, write=0):
        buf[:] = bytes(len(buf))

    def write(self, buf):
        pass

    def write_readinto(self, written, buf):
        self.readinto(buf)


class SPI(SoftSPI):
    def __init__(self, id, baudrate=-1, polarity=-1, phase=-1):
        if id != 1:  # the other one is the flash chip's
            raise ValueError
