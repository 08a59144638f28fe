"""A terminal for tests, with 80 columns and its own clock."""

import io
import re

from rich.console import Console

WIDTH = 80


class Terminal:
    """`console` writes to it; `now` is the time in seconds that a bar goes by."""

    def __init__(self):
        self.now = 0.0
        self._written = io.StringIO()
        self.console = Console(
            file=self._written, force_terminal=True, width=WIDTH, get_time=lambda: self.now
        )

    @property
    def text(self):
        """What was written, without control codes."""
        return plain(self._written.getvalue())

    def frame(self):
        """Return the line that was shown last."""
        return self.frames(1)[0]

    def frames(self, count):
        """Return the lines that were shown last, `count` of them."""
        lines = re.split(r"[\r\n]+", self.text.rstrip("\n"))[-count:]
        return [line.rstrip() for line in lines]


def plain(text):
    """Take the control codes out."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
