"""What the commands of `mpota fleet` print: tables for people, JSON for programs."""

import itertools
import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from mpota.server.times import ago

_NEWEST = 200  # entries of a long list

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_json(found: object) -> None:
    """Print what the server has answered, as JSON."""
    typer.echo(json.dumps(found, indent=1))


def print_fields(fields: dict[str, Any]) -> None:
    """Print a name and its value on each line; times are said as how long ago they were."""
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        if name in ("first_seen", "last_seen", "created", "ended"):
            value = "" if value is None else ago(value)
        typer.echo(f"{name:{width}} {'' if value is None else value}")


def print_table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Print a table; on what is no terminal, no line is broken."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False, header_style="")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def newest(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return as many of *entries* as people read, and say so where there are more."""
    found = list(itertools.islice(entries, _NEWEST + 1))
    if len(found) > _NEWEST:
        typer.echo(f"the newest {_NEWEST}; --json has all:")
    return found[:_NEWEST]


def release_name(one: dict[str, Any]) -> str:
    """Return the name of a release, or of that of a roll-out or an update, as commands take it."""
    is_data = one.get("kind") == "data" or one.get("is_data")
    return f"{one['application']}/{one['version']}{'/data' if is_data else ''}"


def print_attempts(attempts: list[dict[str, Any]]) -> None:
    """Print the updates that boards were given, and how each of them ended."""
    print_table(
        ("board", "release", "was", "given", "state", "the board's words"),
        [
            (
                one["mac"], release_name(one), one["was"],
                ago(one["offered"]), one["state"], one["words"],
            )
            for one in attempts
        ],
    )  # fmt: skip
