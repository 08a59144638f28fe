"""Strips of LEDs, which keep their colours."""


class NeoPixel:
    def __init__(self, pin, n, bpp=3, timing=1):
        pin.init(pin.OUT)
        self.pin = pin
        self.n = n
        self.bpp = bpp
        self.buf = bytearray(n * bpp)

    def __len__(self):
        return self.n

    def __setitem__(self, i, colour):
        at = i * self.bpp
        self.buf[at : at + self.bpp] = bytes(colour)

    def __getitem__(self, i):
        at = i * self.bpp
        return tuple(self.buf[at : at + self.bpp])

    def fill(self, colour):
        for i in range(self.n):
            self[i] = colour

    def write(self):
        pass
