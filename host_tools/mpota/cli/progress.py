"""Show the progress of uploads and of work over serial: bars in a terminal, lines elsewhere."""

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

_STEP_PERCENT = 10
_LONGEST_STEP = 40  # characters of a step's text beside the bars of several boards


class LineConsole(Console):
    """A console that prints lines as they are, and goes on when its output is no longer read."""

    def __init__(self, force_terminal: bool | None = None):
        super().__init__(
            soft_wrap=True, highlight=False, markup=False, force_terminal=force_terminal
        )

    def on_broken_pipe(self) -> None:
        """Show nothing from now on, as with `mpota upload … | head -1`."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Display:
    """Uploads of `total` bytes to `boards`, shown on `console` while the context is open.

    Steps are told in lines where `tell_steps` is true.
    """

    def __init__(self, console: Console, boards: Sequence[str], total: int, tell_steps: bool):
        self.console, self.tell_steps = console, tell_steps
        self.lock = threading.RLock()
        self.is_open = False  # later the threads of boards that were given up show nothing
        self._bars = _bars(console, len(boards) > 1) if console.is_terminal else None
        names = {board: f"{board}: " if len(boards) > 1 else "" for board in boards}
        self._shown: dict[str, LineProgress] = {
            board: BarProgress(self, name, self._bars, total)
            if self._bars
            else LineProgress(self, name)
            for board, name in names.items()
        }

    def __getitem__(self, board: str) -> "LineProgress":
        return self._shown[board]

    def __enter__(self) -> "Display":
        self.is_open = True
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.is_open = False
        if self._bars:
            self._bars.stop()


class LineProgress:
    """Print a line at each 10 %, and at each stage of a trial."""

    def __init__(self, display: Display, prefix: str):
        self._display, self._prefix = display, prefix
        self._shown_percent = 0
        self._stage = ""
        self.is_sent = False  # whether the last byte was sent

    def say(self, line: str) -> None:
        """Print a line."""
        with self._display.lock:
            if self._display.is_open:
                self._display.console.print(self._prefix + line)

    def step(self, text: str) -> None:
        """Say what happens now."""
        if self._display.tell_steps:
            self.say(text)

    def advance(self, done: int, total: int) -> None:
        """Take note that the board has `done` of `total` bytes."""
        percent = done * 100 // total // _STEP_PERCENT * _STEP_PERCENT
        if percent > self._shown_percent:
            self._shown_percent = percent
            self.say(f"{percent} %, {done} of {total} bytes")

    def restart(self) -> None:
        """Take note that sending begins anew."""
        self._shown_percent = 0
        self.is_sent = False

    def sent(self) -> None:
        """Take note that the last byte is under way."""
        self.is_sent = True

    def wait(self, stage: str, detail: str) -> None:
        """Say which stage the trial is in."""
        if stage != self._stage:
            self._stage = stage
            self.say(f"{stage} {detail}")

    def end(self, verdict: str) -> None:
        """Say how the upload ended, in a word or two; here, a line says so anyway."""


class BarProgress(LineProgress):
    """Show the steps before a bar, with bytes, speed and the time left while it sends."""

    def __init__(self, display: Display, prefix: str, bars: Progress, total: int):
        super().__init__(display, prefix)
        self._bars = bars
        self._task = bars.add_task(prefix, total=total, start=False, figures=True)

    def step(self, text: str) -> None:
        """Say what happens now."""
        super().step(text)
        self._bars.update(self._task, description=self._prefix + text)

    def advance(self, done: int, total: int) -> None:
        """Take note that the board has `done` of `total` bytes."""
        if not self._bars.tasks[self._task].started:
            self._bars.start_task(self._task)  # the speed is that of sending, not of waiting before
        self._bars.update(self._task, completed=done, total=total)

    def wait(self, stage: str, detail: str) -> None:
        """Say which stage the trial is in, beside a bar that only moves."""
        text = f"{self._prefix}{stage} {detail}"
        self._bars.update(self._task, description=text, total=None, figures=False)

    def end(self, verdict: str) -> None:
        """Say how the upload ended, in a word or two."""
        task = self._bars.tasks[self._task]
        if task.total is None:  # the bar only moved, since the trial was on
            self._bars.update(self._task, total=task.completed)
        self._bars.update(self._task, description=self._prefix + verdict)


class _WhileSending(ProgressColumn):
    """A column that is empty while the board tries the new version."""

    def __init__(self, column: ProgressColumn):
        super().__init__(Column(no_wrap=True))  # in a narrow terminal the bar becomes shorter
        self._column = column

    def render(self, task: Task) -> RenderableType:
        return self._column(task) if task.fields["figures"] else Text()


def _bars(console: Console, several: bool) -> Progress:
    column = Column(no_wrap=True, max_width=_LONGEST_STEP) if several else None
    step = TextColumn("{task.description}", markup=False, table_column=column)
    figures = [
        _WhileSending(c()) for c in (DownloadColumn, TransferSpeedColumn, TimeRemainingColumn)
    ]
    return Progress(step, BarColumn(), *figures, console=console)


class Phases:
    """Show work in several phases: lines, and in a terminal a bar for the present phase.

    A context manager: at its end, a bar that was not finished is removed.
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
        """End the present phase."""
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
        """Show how far a phase is: `done` of `total` bytes, or of another unit."""
        if phase != self._phase:
            self.close()
            self._phase = phase
            display = self._shown.enter_context(Display(self._console, [""], total, False))
            self._bar = display[""]
            if self._console.is_terminal:
                self._bar.step(phase)
            else:
                self._console.print(f"{phase}, {total} bytes")
        assert self._bar is not None
        self._bar.advance(done, total)
