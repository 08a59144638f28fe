"""Make sense of what a board sends over TCP: counts of bytes taken, then OK or an error.

A count is decimal, without anything between it and the next, so counts that arrive merged or in
pieces can only be told apart by what they must add up to.
"""

_ERROR_LIMIT = 256  # bytes of an error's text


class Replies:
    """Take in a board's bytes as they come."""

    def __init__(self) -> None:
        self.word = ""  # what came that is no count: OK or ERROR[n]: text, as far as it is there
        self.acknowledged = True  # the board has counted all that was announced with expect()
        self.counting = False  # a count came since
        self._size = 0
        self._readings: set[tuple[int, int]] = set()

    def expect(self, size: int) -> None:
        """Wait for counts of `size` bytes in sum."""
        self._size, self.acknowledged, self.counting = size, False, False
        self._readings = {(0, 0)}

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        for char in data.decode("ascii", "replace"):
            if self.word or not (char.isdigit() or char.isspace()):
                self.word = (self.word + char)[:_ERROR_LIMIT]
            elif char.isdigit() and not self.acknowledged:
                self._count(int(char))

    @property
    def ok(self) -> bool:
        """The board has verified and taken the image."""
        return self.word.startswith("OK")

    @property
    def error(self) -> bool:
        """An error has begun to arrive; `complete` tells when all of it is there."""
        return self.word.startswith("E")

    @property
    def complete(self) -> bool:
        """Nothing belongs to `word` any more."""
        return self.ok or "\n" in self.word or len(self.word) == _ERROR_LIMIT

    @property
    def unexpected(self) -> bool:
        """What came can become neither OK nor an error."""
        return not ("OK".startswith(self.word) or self.ok or self.error)

    def _count(self, digit: int) -> None:
        # A reading is (sum of the counts before, the count that may go on): every way to cut the
        # digits into counts that do not exceed what was sent.
        self.counting = True
        longer = {(done, last * 10 + digit) for done, last in self._readings if last}
        begun = {(done + last, digit) for done, last in self._readings if digit}
        self._readings = {(a, b) for a, b in longer | begun if a + b <= self._size}
        # Without any reading left, the board counts in its own way: it did take something.
        self.acknowledged = not self._readings or any(
            done + last == self._size for done, last in self._readings
        )
