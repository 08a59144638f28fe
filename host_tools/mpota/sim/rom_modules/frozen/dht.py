"""Sensors of temperature and humidity, in a pleasant room."""


class DHTBase:
    _temperature = 21
    _humidity = 48

    def __init__(self, pin):
        self.pin = pin

    def measure(self):
        pass

    def temperature(self):
        return self._temperature

    def humidity(self):
        return self._humidity


class DHT11(DHTBase):
    pass


class DHT22(DHTBase):
    _temperature = 21.5
    _humidity = 48.2
