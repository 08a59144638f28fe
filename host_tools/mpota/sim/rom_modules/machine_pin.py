"""The board's pins, which remember their level."""

_levels = {}


class Pin:
    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    PULL_UP = 1
    IRQ_RISING = 1
    IRQ_FALLING = 2

    def __init__(self, id, mode=-1, pull=-1, value=None):
        if id not in range(17):
            raise ValueError("invalid pin")
        self._id = id
        if value is not None:
            self.value(value)
        elif pull == Pin.PULL_UP:
            _levels.setdefault(id, 1)

    def value(self, high=None):
        if high is None:
            return _levels.get(self._id, 0)
        _levels[self._id] = 1 if high else 0

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def irq(self, handler=None, trigger=3, hard=False):
        """Accept a handler; nothing changes a pin from outside, so it is never called."""
