"""Small displays: what is drawn stays in the memory that framebuf draws into."""

from framebuf import MONO_VLSB, FrameBuffer


class SSD1306(FrameBuffer):
    def __init__(self, width, height, external_vcc):
        self.width = width
        self.height = height
        self.external_vcc = external_vcc
        self.pages = height // 8
        self.buffer = bytearray(self.pages * width)
        super().__init__(self.buffer, width, height, MONO_VLSB)
        self.fill(0)

    def poweron(self):
        pass

    poweroff = show = poweron

    def contrast(self, contrast):
        pass

    invert = rotate = contrast


class SSD1306_I2C(SSD1306):
    def __init__(self, width, height, i2c, addr=0x3C, external_vcc=False):
        self.i2c = i2c
        self.addr = addr
        super().__init__(width, height, external_vcc)


class SSD1306_SPI(SSD1306):
    def __init__(self, width, height, spi, dc, res, cs, external_vcc=False):
        self.spi = spi
        super().__init__(width, height, external_vcc)
