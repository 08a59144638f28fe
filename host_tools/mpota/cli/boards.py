"""What the commands that talk to boards share: their options, and several boards at a time."""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mpota import arduino
from mpota.errors import CommandError

if TYPE_CHECKING:
    from mpota.discover import Found

PORT_LIMIT = 65535
_CTRL_C_S = 0.2  # how late Ctrl-C may come, where waiting is not interrupted

Board = Annotated[
    str, typer.Argument(metavar="IP", help="The board's address or name.", show_default=False)
]
Port = Annotated[
    int, typer.Option("-p", "--port", min=1, max=PORT_LIMIT, help="The board's UDP port.")
]
Password = Annotated[
    str,
    typer.Option(
        "-a",
        "--auth",
        "--password",
        metavar="PASSWORD",
        envvar="MPOTA_PASSWORD",
        show_default=False,
        help="The board's password. Others on this computer can see a command line: better set the "
        "environment variable.",
    ),
]
Pages = Annotated[
    list[str] | None,
    typer.Option(
        "--http",
        metavar="URL",
        show_default=False,
        help="Use the update page of the board, as http://192.168.4.1; several times for several "
        "boards.",
    ),
]
User = Annotated[str, typer.Option("--user", metavar="NAME", help="The user that the page knows.")]
BOARD_PORT = arduino.BOARD_PORT
PAGE_USER = "mpota"

_Result = TypeVar("_Result")


class NotBegunError(CommandError):
    """A board that was not even tried, since too many others have failed."""


def at_once(
    boards: Sequence[str],
    work: Callable[[str], _Result],
    *,
    most: int | None = None,
    max_failures: int | None = None,
    has_failed: Callable[[_Result], bool] = lambda result: False,
) -> list[_Result | CommandError]:
    """Do `work(board)` for boards at the same time; give each one's result or CommandError.

    `most` is for how many at a time at most. Once `max_failures` have failed, by a CommandError or
    as `has_failed` has it, no other is begun: its result is a NotBegunError.
    """
    for board in boards:
        if boards.count(board) > 1:
            raise CommandError(f"{board} is given more than once: name each board once")
    done: queue.SimpleQueue[tuple[str, _Result | BaseException]] = queue.SimpleQueue()

    def run(board: str) -> None:
        try:
            done.put((board, work(board)))
        except BaseException as error:  # handed to who waits for it
            done.put((board, error))

    waiting = list(boards)
    results: dict[str, _Result | CommandError] = {}
    running = failures = 0
    while waiting or running:
        if max_failures is not None and failures >= max_failures:
            error = (
                f"not begun: {failures} {'board has' if failures == 1 else 'boards have'} failed"
            )
            results |= {board: NotBegunError(error) for board in waiting}
            waiting = []
        while waiting and (most is None or running < most):
            # A daemon: after Ctrl-C the command ends at once, whatever a thread waits for.
            threading.Thread(target=run, args=[waiting.pop(0)], daemon=True).start()
            running += 1
        with suppress(queue.Empty):
            board, result = done.get(timeout=_CTRL_C_S)
            if isinstance(result, BaseException) and not isinstance(result, CommandError):
                raise result
            results[board] = result
            running -= 1
            failures += isinstance(result, CommandError) or has_failed(result)
    return [results[board] for board in boards]


def is_pattern(board: str) -> bool:
    """Whether this stands for the boards that are found by it, as `garden-*` does."""
    return any(character in board for character in "*?[")


def matching(patterns: Sequence[str]) -> "dict[str, Found]":
    """Look for boards by mDNS; give those with mpota of which a pattern has the name.

    Raises CommandError where there is none.
    """
    from mpota.discover import discover  # zeroconf takes its time to load

    boards = [board for board in discover() if board.state]
    found = {
        board.name: board
        for board in boards
        if any(fnmatch(board.name.lower(), pattern.lower()) for pattern in patterns)
    }
    if not found:
        names = ", ".join(board.name for board in boards) or "none at all"
        raise CommandError(f"no board was found by {' '.join(patterns)}: found were {names}")
    return found
