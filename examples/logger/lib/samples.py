"""The last samples, in memory that is taken once."""

from array import array


class Samples:
    """The newest *keep* pairs of signal strength in dBm and free heap in bytes."""

    def __init__(self, keep):
        self._signal = array("h", [0] * keep)
        self._heap = array("H", [0] * keep)
        self._count = 0
        self.paused = False

    def add(self, signal, heap):
        """Keep a pair in the place of the oldest."""
        at = self._count % len(self._signal)
        self._signal[at] = signal
        self._heap[at] = min(heap, 65535)
        self._count += 1

    def __len__(self):
        return min(self._count, len(self._signal))

    def __iter__(self):
        """Yield (signal, heap), the oldest pair first."""
        n = len(self)
        for i in range(self._count - n, self._count):
            at = i % len(self._signal)
            yield self._signal[at], self._heap[at]
