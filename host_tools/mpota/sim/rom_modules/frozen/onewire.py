"""A 1-wire bus with one thermometer, a DS18B20, on it; ds18x20 reads it."""


class OneWireError(Exception):
    pass


class OneWire:
    SEARCH_ROM = 0xF0
    MATCH_ROM = 0x55
    SKIP_ROM = 0xCC

    def __init__(self, pin):
        self.pin = pin

    def reset(self, required=False):
        return True

    def scan(self):
        return [bytearray(b"\x28\xff\x4b\x1c\x93\x16\x04\xd5")]
