"""Strips of LEDs, which keep their colours."""

from neopixel import NeoPixel


class APA102(NeoPixel):
    def __init__(self, clock_pin, data_pin, n, bpp=4):
        super().__init__(data_pin, n, bpp)
        clock_pin.init(clock_pin.OUT)
