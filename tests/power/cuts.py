"""A power cut in a scenario of the power tests, and the command that repeats it."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Cut:
    """A power cut before flash operation *cut* of a scenario; *second*: one in the recovery.

    The recovery is what a board does after a cut, or another try if the cut left it as it was.
    *torn* is how much of the operation, after either cut, is carried out all the same.
    """

    scenario: str
    cut: int
    torn: str = "none"
    second: int | None = None

    # The arguments of repeat.py for this kind of scenario.
    arguments: ClassVar[str]

    @property
    def command(self) -> str:
        """The command that repeats exactly this case."""
        command = f"python tests/power/repeat.py {self.arguments.format(self)}"
        command += f" --torn {self.torn}" if self.torn != "none" else ""
        return command + (f" --second {self.second}" if self.second is not None else "")
