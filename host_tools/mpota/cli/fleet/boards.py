"""`mpota fleet boards`: which boards there are, what they run, and what they may have."""

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from mpota.cli.fleet.connection import client, pages
from mpota.cli.fleet.printing import (
    Json,
    print_attempts,
    print_fields,
    print_json,
    print_table,
)
from mpota.cli.fleet.releases import find_release
from mpota.errors import CommandError
from mpota.server.times import ago

_AT_ONCE = 1000  # boards in one call of the API

boards = typer.Typer(no_args_is_help=True, help="Boards: what they run, and what they may have.")

Mac = Annotated[str, typer.Argument(metavar="MAC", help="The board's MAC address.")]
Macs = Annotated[list[str], typer.Argument(metavar="MAC…", help="The boards' MAC addresses.")]


@boards.command("list")
def list_boards(
    state: Annotated[
        str,
        typer.Option(metavar="pending|accepted|refused", help="Only boards in this state."),
    ] = "",
    group: Annotated[str, typer.Option(help="Only boards of this group.")] = "",
    application: Annotated[str, typer.Option(help="Only boards that run this application.")] = "",
    as_json: Json = False,
) -> None:
    """List boards with what they run."""
    found = list(_all_boards(state=state, group=group, application=application))
    if as_json:
        print_json(found)
        return
    print_table(
        ("board", "state", "group", "runs", "last seen", "signal", "heap", "last update"),
        [
            (
                board["mac"] + (f" {board['label']}" if board["label"] else ""),
                board["state"],
                board["group"],
                f"{board['application']} {board['version'] or board['sequence'] or ''}".strip(),
                ago(board["last_seen"]),
                "" if board["rssi"] is None else f"{board['rssi']} dBm",
                "" if board["heap"] is None else board["heap"],
                board["outcome"],
            )
            for board in found
        ],
    )


@boards.command("show")
def show_board(mac: Mac, as_json: Json = False) -> None:
    """Show all that is known of a board, and the updates that it was given."""
    board = client().call("GET", f"/boards/{_quoted(mac)}")
    history = list(pages(f"/boards/{_quoted(mac)}/history", "attempts"))
    if as_json:
        print_json(board | {"history": history})
        return
    print_fields(board)
    print_attempts(history)


@boards.command("add")
def add_board(
    mac: Mac,
    group: Annotated[str, typer.Option(help="The group that the board belongs to.")] = "",
    label: Annotated[str, typer.Option(help="What people call the board.")] = "",
    secret: Annotated[
        bool, typer.Option("--secret", help="Give the board a secret of its own, and print it.")
    ] = False,
) -> None:
    """Accept a board before it asks for the first time."""
    server = client()
    server.call("POST", "/boards", {"mac": mac, "group": group, "label": label})
    typer.echo(f"{mac}: added")
    if secret:
        made = server.call("POST", f"/boards/{_quoted(mac)}/secret")
        typer.echo(f"its secret, which is not shown again: {made['secret']}")


@boards.command("accept")
def accept(
    macs: Annotated[
        list[str] | None, typer.Argument(metavar="MAC…", help="The boards' MAC addresses.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Accept every board that waits.")] = False,
) -> None:
    """Let boards that wait have updates."""
    waiting = [board["mac"] for board in _all_boards(state="pending")] if everyone else []
    _change([*(macs or []), *waiting], {"state": "accepted"})


@boards.command("refuse")
def refuse(macs: Macs) -> None:
    """Refuse boards from now on."""
    _change(macs, {"state": "refused"})


@boards.command("set")
def set_board(
    macs: Macs,
    group: Annotated[str | None, typer.Option(help="Their group; '' for none.")] = None,
    channel: Annotated[str | None, typer.Option(help="The channel of their releases.")] = None,
    label: Annotated[str | None, typer.Option(help="What people call them.")] = None,
    application: Annotated[
        str | None, typer.Option(help="The application of sketches that do not tell theirs.")
    ] = None,
    pin: Annotated[
        str | None,
        typer.Option(
            metavar="RELEASE",
            help="The only release that they may have, as garden/2.0.0; '' for none.",
        ),
    ] = None,
) -> None:
    """Change what boards may have."""
    change: dict[str, object] = {
        name: value
        for name, value in (
            ("group", group), ("channel", channel), ("label", label), ("assigned", application),
        )
        if value is not None
    }  # fmt: skip
    if pin is not None:
        change["pin"] = find_release(pin)["id"] if pin else None
    _change(macs, change)


@boards.command("retry")
def retry(macs: Macs) -> None:
    """Offer boards again what has failed on them."""
    for mac in macs:
        made = client().call("POST", f"/boards/{_quoted(mac)}/retry")
        typer.echo(f"{mac}: {made['count']} failed updates are forgiven")
        if made["taken_back"]:
            typer.echo(
                f"{mac}: {made['taken_back']} taken back by the board itself: upload a release "
                "with a higher sequence"
            )


@boards.command("remove")
def remove(macs: Macs) -> None:
    """Forget boards and their history."""
    for mac in macs:
        client().call("DELETE", f"/boards/{_quoted(mac)}")
        typer.echo(f"{mac}: removed")


def _change(macs: list[str], change: dict[str, object]) -> None:
    if not macs:
        raise CommandError("no board is named, or none waits")
    if not change:
        raise CommandError("nothing is to be changed: give an option, as --group lab")
    for at in range(0, len(macs), _AT_ONCE):
        client().call("PATCH", "/boards", {"macs": macs[at : at + _AT_ONCE]} | change)
    typer.echo(f"{len(macs)} boards: changed")


def _all_boards(**query: str) -> Iterator[dict[str, Any]]:
    server = client()
    after: str | None = ""
    while after is not None:
        page = server.call("GET", "/boards", query={"after": after, "limit": 500} | query)
        yield from page["boards"]
        after = page["next"]


def _quoted(mac: str) -> str:
    return quote(mac, safe="")
