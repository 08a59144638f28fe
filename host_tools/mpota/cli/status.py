"""`mpota status`: ask boards what they run, and how their last update ended."""

import json
import re
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mpota import web
from mpota.arduino.status import Status, ask_status
from mpota.cli.boards import BOARD_PORT, PAGE_USER, Pages, Password, Port, User, at_once
from mpota.errors import CommandError
from mpota.web.client import Client

_FAILED = 1  # exit status

# The states, as a board names them, in words for people.
STATES = {
    "idle": "not healthy yet",
    "trial": "on trial",
    "services": "services only",
    "safe": "safe mode, without the application",
    "alone": "services only, for one update",
}


def status(
    boards: Annotated[
        list[str] | None,
        typer.Argument(metavar="IP…", help="The boards' addresses or host names."),
    ] = None,
    port: Port = BOARD_PORT,
    auth: Password = "",
    http: Pages = None,
    user: User = PAGE_USER,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of JSON objects, one for each board.")
    ] = False,
) -> None:
    """Ask boards what they run, and how their last update ended.

    Exit status 1: at least one board did not answer.
    """
    pages = http or []
    boards = [*(boards or []), *pages]
    if not boards:
        raise CommandError("no board is given: name its address, or its page with --http")

    def ask(board: str) -> Status:
        if board in pages:
            return web.ask_status(Client(board, user, auth))
        return ask_status(board, port, auth)

    results = dict(zip(boards, at_once(boards, ask), strict=True))
    told = {board: it for board, it in results.items() if isinstance(it, Status)}
    failures = {board: it for board, it in results.items() if isinstance(it, CommandError)}
    if as_json:
        typer.echo(json.dumps([_fields(*result) for result in results.items()], indent=1))
    elif told:
        console = Console(highlight=False, markup=False)
        console.print(_table(told))
    if len(boards) == 1 and failures:
        raise failures[boards[0]]
    for board, error in failures.items():
        typer.echo(f"error: {board}: {error}", err=True)
    if failures:
        raise typer.Exit(_FAILED)


def _fields(board: str, result: Status | CommandError) -> dict[str, object]:
    if isinstance(result, Status):
        return {"board": board} | asdict(result)
    return {"board": board, "error": str(result)}


def _table(told: dict[str, Status]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("board", "runs", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("last update")
    for board, it in told.items():
        runs = ["no application"]
        if it.slot:
            runs = [f"{it.name} {it.version}", f"sequence {it.sequence}, slot {it.slot}"]
        if it.data:
            runs.append(f"data {it.data}…")
        state = [_state(it), f"up {_duration(it.uptime_s)}", f"{it.free_heap_bytes} bytes of heap"]
        runs.append(f"MicroPython {it.firmware}")
        outcome = re.sub(r"^(confirmed|taken back): (?=\d)", r"\1: sequence ", it.outcome)
        last = [outcome or "not known"]
        if it.last_check:
            last.append(f"asked a server {it.last_check}")
        cells = [board, "\n".join(runs), "\n".join(state), "\n".join(last)]
        table.add_row(*map(Text, cells))
    return table


def _state(it: Status) -> str:
    if it.state == "trial":
        return f"on trial, {it.trial_left_s} s left"
    return STATES.get(it.state, it.state)


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours}:{minutes:02}:{seconds:02}"
