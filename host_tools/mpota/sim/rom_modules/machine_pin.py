"""The board's pins, which remember their level, and what uses them: ADC and PWM."""

import machine  # the interpreter's own

_levels = {}
_PINS = (0, 1, 2, 3, 4, 5, 9, 10, 12, 13, 14, 15, 16)  # 6, 7, 8 and 11 are the flash chip's
_PWM_PINS = (0, 2, 4, 5, 12, 13, 14, 15)
_MOST_DUTY = 1024
_duties = {}
_pwm_hz = 500  # one for all


class _Irq:
    # What Pin.irq() returns.
    def __init__(self, trigger):
        self._trigger = trigger

    def trigger(self, value=None):
        before = self._trigger
        if value is not None:
            self._trigger = value
        return before


class Pin(machine.PinBase):
    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    PULL_UP = 1
    IRQ_RISING = 1
    IRQ_FALLING = 2

    def __init__(self, id, mode=-1, pull=None, *, value=None):
        if isinstance(id, Pin):
            id = id._id
        if id not in _PINS:
            raise ValueError("invalid pin")
        self._id = id
        if mode >= 0 or value is not None:
            self.init(mode, pull, value=value)

    def init(self, mode, pull=None, *, value=None):
        if pull and self._id == 16:
            raise ValueError("Pin(16) doesn't support pull")
        if value is not None:
            self.value(value)
        elif pull == Pin.PULL_UP:
            _levels.setdefault(self._id, 1)

    def __repr__(self):
        return "Pin(%d)" % self._id

    def value(self, high=None):
        if high is None:
            return _levels.get(self._id, 0)
        _levels[self._id] = 1 if high else 0

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self.value())

    def irq(self, handler=None, trigger=3, hard=False):
        """Accept a handler; nothing changes a pin from outside, so it is never called."""
        if self._id == 16:
            raise OSError("pin does not have IRQ capabilities")
        if hard:
            raise ValueError("hard IRQ not supported")
        return _Irq(trigger)


class ADC:
    """An input with half of the highest voltage on it, or (1) the chip's supply, which says 65535
    as long as the firmware is not told to measure it.
    """

    def __init__(self, channel):
        if channel not in (0, 1):
            raise ValueError("ADC(%d) doesn't exist" % channel)
        self._level = 65535 if channel else 512

    def read(self):
        return self._level

    def read_u16(self):
        return self._level * 65535 // 1024


class PWM:
    def __init__(self, pin, freq=-1, duty=-1, duty_u16=-1, duty_ns=-1):
        self._id = Pin(pin)._id
        if self._id not in _PWM_PINS:
            raise ValueError("PWM not supported on pin %d" % self._id)
        self.init(freq, duty, duty_u16, duty_ns)

    def init(self, freq=-1, duty=-1, duty_u16=-1, duty_ns=-1):
        if freq != -1:
            self.freq(freq)
        _duties.setdefault(self._id, 0)
        if duty != -1:
            self.duty(duty)
        if duty_u16 != -1:
            self.duty_u16(duty_u16)
        if duty_ns != -1:
            self.duty_ns(duty_ns)

    def deinit(self):
        _duties.pop(self._id, None)

    def freq(self, hz=None):
        global _pwm_hz
        if hz is None:
            return _pwm_hz
        _pwm_hz = min(max(hz, 1), 1000)

    def duty(self, value=None):
        if value is None:
            return _duties.get(self._id, 0)
        _duties[self._id] = min(max(value, 0), _MOST_DUTY)

    def duty_u16(self, value=None):
        if value is None:
            return self.duty() * 65535 // 1024
        self.duty(value * 1024 // 65535)

    def duty_ns(self, value=None):
        if value is None:
            return self.duty() * 976563 // _pwm_hz
        self.duty(value * _pwm_hz // 976562)
