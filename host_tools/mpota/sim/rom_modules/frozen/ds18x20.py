"""Thermometers on a 1-wire bus, in a pleasant room."""


class DS18X20:
    def __init__(self, onewire):
        self.ow = onewire

    def scan(self):
        return [rom for rom in self.ow.scan() if rom[0] in (0x10, 0x22, 0x28)]

    def convert_temp(self):
        pass

    def read_temp(self, rom):
        return 21.5
