"""When the valve is open."""


class Schedule:
    """Open for the first *open_ms* of every *period_ms*."""

    def __init__(self, period_ms, open_ms):
        self._period_ms = period_ms
        self._open_ms = open_ms

    def is_open(self, now_ms):
        return now_ms % self._period_ms < self._open_ms
