"""What the commands that talk to boards share: their options, and several boards at a time."""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, TypeVar

import typer

from mpota import arduino
from mpota.errors import CommandError

PORT_LIMIT = 65535
_CTRL_C_S = 0.2  # how late Ctrl-C may come, where waiting is not interrupted

Board = Annotated[
    str, typer.Argument(metavar="IP", help="The board's address or host name.", show_default=False)
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


def at_once(boards: Sequence[str], work: Callable[[str], _Result]) -> list[_Result | CommandError]:
    """Do `work(board)` for all boards at the same time; give each one's result or CommandError."""
    for board in boards:
        if boards.count(board) > 1:
            raise CommandError(f"{board} is given more than once: name each board once")
    done: queue.SimpleQueue[tuple[str, _Result | BaseException]] = queue.SimpleQueue()

    def run(board: str) -> None:
        try:
            done.put((board, work(board)))
        except BaseException as error:  # handed to who waits for it
            done.put((board, error))

    for board in boards:
        # A daemon: after Ctrl-C the command ends at once, whatever a thread waits for.
        threading.Thread(target=run, args=[board], daemon=True).start()
    results: dict[str, _Result | CommandError] = {}
    while len(results) < len(boards):
        with suppress(queue.Empty):
            board, result = done.get(timeout=_CTRL_C_S)
            if isinstance(result, BaseException) and not isinstance(result, CommandError):
                raise result
            results[board] = result
    return [results[board] for board in boards]
