"""What the commands that talk to boards share: options, and work on several boards at a time."""

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
_CTRL_C_S = 0.2  # the longest wait at a time: on Windows, Ctrl-C does not interrupt a wait

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
        help="The board's password. Other users of this computer can see a command line, so it is "
        "better to set the environment variable.",
    ),
]
Pages = Annotated[
    list[str] | None,
    typer.Option(
        "--http",
        metavar="URL",
        show_default=False,
        help="Use the update page of the board, such as http://192.168.4.1. Give this option "
        "several times for several boards.",
    ),
]
User = Annotated[
    str, typer.Option("--user", metavar="NAME", help="The user name for the update page.")
]
BOARD_PORT = arduino.BOARD_PORT
PAGE_USER = "mpota"

_Result = TypeVar("_Result")


class NotBegunError(CommandError):
    """Nothing was sent to a board, since too many other boards had failed."""


def at_once(
    boards: Sequence[str],
    work: Callable[[str], _Result],
    *,
    most: int | None = None,
    max_failures: int | None = None,
    has_failed: Callable[[_Result], bool] = lambda result: False,
) -> list[_Result | CommandError]:
    """Call `work(board)` for several boards at the same time.

    Returns, for each board, what `work` returned or the CommandError that it raised. At most `most`
    calls run at a time. A board has failed when `work` raised a CommandError, or when `has_failed`
    is true of its result. After `max_failures` such boards, `work` is called for no other board,
    and the others get a NotBegunError.
    """
    for board in boards:
        if boards.count(board) > 1:
            raise CommandError(f"{board} is given more than once: name each board once")
    done: queue.SimpleQueue[tuple[str, _Result | BaseException]] = queue.SimpleQueue()

    def run(board: str) -> None:
        try:
            done.put((board, work(board)))
        except BaseException as error:  # raised again by the thread that reads `done`
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
            # A daemon thread: after Ctrl-C the command ends at once, whatever the thread waits for.
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
    """Whether `board` is a pattern for the names of several boards, such as `garden-*`."""
    return any(character in board for character in "*?[")


def matching(patterns: Sequence[str]) -> "dict[str, Found]":
    """Look for boards by mDNS; return those with mpota whose names match one of the patterns.

    Raises CommandError where no board does.
    """
    from mpota.discover import discover  # not at the top: zeroconf takes long to load

    boards = [board for board in discover() if board.state]
    found = {
        board.name: board
        for board in boards
        if any(fnmatch(board.name.lower(), pattern.lower()) for pattern in patterns)
    }
    if not found:
        names = ", ".join(board.name for board in boards)
        raise CommandError(
            f"no board is named like {' '.join(patterns)}: "
            + (f"the boards found are {names}" if names else "no board with mpota was found at all")
        )
    return found
