"""Show how an upload gets on: a bar in a terminal, a line at each 10 % elsewhere."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

_STEP_PERCENT = 10


class LineProgress:
    """Print a line at each 10 %, and the steps when `tell_steps` is true."""

    def __init__(self, console: Console, tell_steps: bool):
        self._console, self._tell_steps = console, tell_steps
        self._shown_percent = 0

    def step(self, text: str) -> None:
        """Say what happens now."""
        if self._tell_steps:
            self._console.print(text)

    def advance(self, done: int, total: int) -> None:
        """Take note that the board has `done` of `total` bytes."""
        percent = done * 100 // total // _STEP_PERCENT * _STEP_PERCENT
        if percent > self._shown_percent:
            self._shown_percent = percent
            self._console.print(f"{percent} %, {done} of {total} bytes")


class BarProgress(LineProgress):
    """Show the steps before a bar with bytes, speed and the time left."""

    def __init__(self, console: Console, tell_steps: bool, bar: Progress, task: TaskID):
        super().__init__(console, tell_steps)
        self._bar, self._task = bar, task

    def step(self, text: str) -> None:
        """Say what happens now."""
        super().step(text)
        self._bar.update(self._task, description=text)

    def advance(self, done: int, total: int) -> None:
        """Take note that the board has `done` of `total` bytes."""
        if not self._bar.tasks[0].started:  # the speed is that of sending, not of waiting before
            self._bar.start_task(self._task)
        self._bar.update(self._task, completed=done)


@contextmanager
def show_progress(console: Console, total: int, tell_steps: bool) -> Iterator[LineProgress]:
    """Show an upload of `total` bytes on `console` while the context is open."""
    if not console.is_terminal:
        yield LineProgress(console, tell_steps)
        return
    step = TextColumn("{task.description}", markup=False)
    figures = [
        column(table_column=Column(no_wrap=True))  # where it is narrow, the bar gives way
        for column in (DownloadColumn, TransferSpeedColumn, TimeRemainingColumn)
    ]
    with Progress(step, BarColumn(), *figures, console=console) as bar:
        task = bar.add_task("", total=total, start=False)
        yield BarProgress(console, tell_steps, bar, task)


class Phases:
    """Show work of several phases: lines, and in a terminal a bar for the phase that goes on.

    A context manager, which takes away a bar that was not finished.
    """

    def __init__(self, console: Console):
        self._console = console
        self._phase, self._shown = "", ExitStack()
        self._bar: LineProgress | None = None

    def __enter__(self) -> "Phases":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the phase that goes on."""
        self._phase, self._bar = "", None
        self._shown.close()

    def tell(self, line: str) -> None:
        """Show a line."""
        self.close()
        self._console.print(line)

    result = tell

    def board_line(self, line: str) -> None:
        """Show a line that the board said."""
        self.tell(f"  | {line}")

    def progress(self, phase: str, done: int, total: int) -> None:
        """Show how far a phase is, by bytes or whatever it counts."""
        if phase != self._phase:
            self.close()
            self._phase = phase
            self._bar = self._shown.enter_context(show_progress(self._console, total, False))
            if self._console.is_terminal:
                self._bar.step(phase)
            else:
                self._console.print(f"{phase}, {total} bytes")
        assert self._bar is not None
        self._bar.advance(done, total)
