"""Read what a board sends over TCP: the counts of bytes that it took, then OK or an error.

A count is a decimal number, with no separator before the next one. Several counts may arrive in one
piece, or one count in several; where a count ends is only known from the sum that they must reach.
"""

_ERROR_LIMIT = 256  # bytes of an error's text


class Replies:
    """What a board has sent so far."""

    def __init__(self) -> None:
        self.word = ""  # OK, or "ERROR[n]: text", as far as it has arrived
        self.acknowledged = True  # the counts have reached the sum that expect() has announced
        self.counting = False  # a count has arrived since expect()
        self._size = 0
        self._readings: set[tuple[int, int]] = set()

    def expect(self, size: int) -> None:
        """Wait for counts of `size` bytes in sum."""
        self._size, self.acknowledged, self.counting = size, False, False
        self._readings = {(0, 0)}

    def feed(self, data: bytes) -> None:
        """Read bytes that have arrived."""
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
        """All of `word` has arrived."""
        return self.ok or "\n" in self.word or len(self.word) == _ERROR_LIMIT

    @property
    def unexpected(self) -> bool:
        """The board has sent what is neither a count, nor OK, nor an error."""
        return not ("OK".startswith(self.word) or self.ok or self.error)

    def _count(self, digit: int) -> None:
        # A reading is (sum of the counts before, the count that may go on): every way to cut the
        # digits into counts that do not exceed what was sent.
        self.counting = True
        longer = {(done, last * 10 + digit) for done, last in self._readings if last}
        begun = {(done + last, digit) for done, last in self._readings if digit}
        self._readings = {(a, b) for a, b in longer | begun if a + b <= self._size}
        # If no reading is left, the board counts in another way: it did acknowledge something.
        self.acknowledged = not self._readings or any(
            done + last == self._size for done, last in self._readings
        )
