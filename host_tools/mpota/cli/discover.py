"""`mpota discover`: find boards by mDNS."""

import json
import queue
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mpota.arduino import BOARD_PORT
from mpota.cli.status import STATES
from mpota.discover import PATIENCE_S, Event, Found, Watch
from mpota.discover import discover as find
from mpota.errors import CommandError

_TURN_S = 0.5  # on Windows, Ctrl-C takes effect only between two waits


def discover(
    wait_s: Annotated[
        float,
        typer.Option("--wait-s", metavar="SECONDS", min=0, help="How long to look for boards."),
    ] = PATIENCE_S,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on until Ctrl-C, and tell when a board appears, changes or goes away.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a list of JSON objects; with --watch, one object a line, with its event.",
        ),
    ] = False,
) -> None:
    """Find the boards in this network, by mDNS.

    Boards with an Arduino sketch that takes updates are shown too; they tell less of themselves.

    Exit status 1: no board was found.
    """
    if watch:
        _watch(as_json)
        return
    boards = find(wait_s)
    if as_json:
        typer.echo(json.dumps([asdict(board) for board in boards], indent=1))
    elif boards:
        Console(highlight=False, markup=False).print(_table(boards))
    if not boards:
        raise CommandError(
            f"no board was found within {wait_s:g} s: check that this computer is in the boards' "
            "network, and that no firewall blocks UDP port 5353"
        )


def _watch(as_json: bool) -> None:
    # The events come in a thread of zeroconf. They are printed here, since an error in that thread,
    # such as that of an output whose reader has gone, would not end the command.
    events: queue.SimpleQueue[tuple[Event, Found]] = queue.SimpleQueue()
    with Watch(lambda event, board: events.put((event, board))):
        while True:
            try:
                event, board = events.get(timeout=_TURN_S)
            except queue.Empty:
                continue
            if as_json:
                typer.echo(json.dumps({"event": event} | asdict(board)))
            else:
                typer.echo(f"{event:8}{'  '.join(filter(None, _cells(board)))}")


def _table(boards: list[Found]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "address", "application", "version", "state", "auth"):
        table.add_column(name, no_wrap=name != "state")
    for board in boards:
        table.add_row(*map(Text, _cells(board)))
    return table


def _cells(board: Found) -> list[str]:
    port = "" if board.port == BOARD_PORT else f":{board.port}"
    state = STATES.get(board.state, board.state)
    auth = "password" if board.auth else "open"
    return [board.name, board.address + port, board.application, board.version, state, auth]
