"""`mpota fleet`: boards, releases and roll-outs of a server, by its API."""

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from mpota.errors import CommandError
from mpota.server.client import Client, keep_login, kept_login

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PHASE = re.compile(r"(\d+(?:\.\d+)?)%?(?:/(\d+)([smhd]))?(?:@([!-~]+))?")

fleet = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
boards = typer.Typer(no_args_is_help=True, help="Boards: what they run, and what they may have.")
releases = typer.Typer(no_args_is_help=True, help="Releases: upload, list, move, withdraw.")
rollout = typer.Typer(no_args_is_help=True, help="Roll-outs: begin, watch, pause, cancel.")
for _name, _commands in (("boards", boards), ("releases", releases), ("rollout", rollout)):
    fleet.add_typer(_commands, name=_name)

Json = Annotated[bool, typer.Option("--json", help="Print it for programs.")]
Macs = Annotated[list[str], typer.Argument(metavar="MAC…", help="The boards' MAC addresses.")]


class _Where:
    server = ""
    token = ""


@fleet.callback()
def _options(
    server: Annotated[
        str, typer.Option(envvar="MPOTA_SERVER", metavar="URL", help="The server's address.")
    ] = "",
    token: Annotated[
        str,
        typer.Option(envvar="MPOTA_TOKEN", metavar="TOKEN", help="Rather by its variable."),
    ] = "",
) -> None:
    """Operate a server of `mpota serve`; docs/SERVER.md has it all."""
    kept_server, kept_token = kept_login()
    _Where.server = server or kept_server
    _Where.token = token or (kept_token if _Where.server == kept_server else "")


def _client() -> Client:
    if not _Where.server:
        raise CommandError("no server is known: run 'mpota fleet login URL', or give MPOTA_SERVER")
    return Client(_Where.server, _Where.token)


@fleet.command()
def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="As http://192.168.0.2:8000")],
    name: Annotated[str, typer.Option(help="The operator's name.")] = "admin",
) -> None:
    """Get a token for this computer; the password is asked for, or read from standard input."""
    if sys.stdin.isatty():
        password = str(typer.prompt(f"Password of {name}", hide_input=True))
    else:
        password = sys.stdin.readline().rstrip("\n")
    scopes = ["admin"]
    token = {"name": f"mpota fleet, {time.strftime('%Y-%m-%d')}", "scopes": scopes, "days": 90}
    body = {"name": name, "password": password, "token": token}
    made = Client(url).call("POST", "/login", body)
    path = keep_login(url.rstrip("/"), made["text"])
    typer.echo(f"logged in for 90 days; the token is in {path}")


# Boards


@boards.command("list")
def list_boards(
    state: Annotated[str, typer.Option(metavar="pending|accepted|refused")] = "",
    group: str = "",
    application: str = "",
    as_json: Json = False,
) -> None:
    """List boards with what they run."""
    found = list(_all_boards(state=state, group=group, application=application))
    if as_json:
        _print_json(found)
        return
    _table(
        ("board", "state", "group", "runs", "last seen", "signal", "heap", "last update"),
        [
            (
                board["mac"] + (f" {board['label']}" if board["label"] else ""),
                board["state"],
                board["group"],
                f"{board['application']} {board['version'] or board['sequence'] or ''}".strip(),
                _ago(board["last_seen"]),
                "" if board["rssi"] is None else f"{board['rssi']} dBm",
                "" if board["heap"] is None else board["heap"],
                board["outcome"],
            )
            for board in found
        ],
    )


@boards.command("show")
def show_board(mac: str, as_json: Json = False) -> None:
    """Tell all of a board, and what it was given."""
    client = _client()
    board = client.call("GET", f"/boards/{_quoted(mac)}")
    history = client.call("GET", f"/boards/{_quoted(mac)}/history")["attempts"]
    if as_json:
        _print_json(board | {"history": history})
        return
    for name, value in board.items():
        value = _ago(value) if name in ("first_seen", "last_seen") else value
        typer.echo(f"{name:12} {'' if value is None else value}")
    _attempts(history)


@boards.command("add")
def add_board(mac: str, group: str = "", label: str = "", secret: bool = False) -> None:
    """Name a board before it asks; --secret gives it one of its own, and prints it."""
    client = _client()
    client.call("POST", "/boards", {"mac": mac, "group": group, "label": label})
    typer.echo(f"{mac}: added")
    if secret:
        made = client.call("POST", f"/boards/{_quoted(mac)}/secret")
        typer.echo(f"its secret, which is not shown again: {made['secret']}")


@boards.command("accept")
def accept(
    macs: Annotated[list[str] | None, typer.Argument(metavar="MAC…")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
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
    group: Annotated[str | None, typer.Option(help="'' for none.")] = None,
    channel: str | None = None,
    label: str | None = None,
    application: Annotated[str | None, typer.Option(help="Of a sketch that tells none.")] = None,
    pin: Annotated[str | None, typer.Option(help="APPLICATION/VERSION; '' for none.")] = None,
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
        change["pin"] = _release(pin)["id"] if pin else None
    _change(macs, change)


@boards.command("retry")
def retry(macs: Macs) -> None:
    """Let boards have again what failed there."""
    for mac in macs:
        made = _client().call("POST", f"/boards/{_quoted(mac)}/retry")
        typer.echo(f"{mac}: {made['count']} failed updates are forgiven")


@boards.command("remove")
def remove(macs: Macs) -> None:
    """Forget boards and their history."""
    for mac in macs:
        _client().call("DELETE", f"/boards/{_quoted(mac)}")
        typer.echo(f"{mac}: removed")


def _change(macs: list[str], change: dict[str, object]) -> None:
    if not macs:
        raise CommandError("no board is named, or none waits")
    if not change:
        raise CommandError("nothing is to be changed: give an option, as --group lab")
    for at in range(0, len(macs), 1000):
        _client().call("PATCH", "/boards", {"macs": macs[at : at + 1000]} | change)
    typer.echo(f"{len(macs)} boards: changed")


def _all_boards(**query: str) -> Iterator[dict[str, Any]]:
    client = _client()
    after: str | None = ""
    while after is not None:
        page = client.call("GET", "/boards", query={"after": after, "limit": 500} | query)
        yield from page["boards"]
        after = page["next"]


# Releases


@releases.command("list")
def list_releases(as_json: Json = False) -> None:
    """List releases."""
    found = _client().call("GET", "/releases")["releases"]
    if as_json:
        _print_json(found)
        return
    _table(
        ("release", "sequence", "channel", "size", "signed by", ""),
        [
            (
                f"{release['application']}/{release['version']}", release["sequence"],
                release["channel"], release["size_bytes"], release["signed_by"] or "nobody",
                "withdrawn" if release["withdrawn"] else "",
            )
            for release in found
        ],
    )  # fmt: skip


@releases.command("add")
def add_release(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An image, or a sketch's .bin.")],
    channel: str = "stable",
    notes: str = "",
    application: Annotated[str, typer.Option(help="Of a sketch.")] = "",
    version: Annotated[str, typer.Option(help="Of a sketch.")] = "",
) -> None:
    """Upload a release. No board gets it before a roll-out, or a pin."""
    query = {
        "channel": channel, "notes": notes, "application": application, "version": version,
    }  # fmt: skip
    made = _client().call("POST", "/releases", data=file.read_bytes(), query=query)
    typer.echo(f"{made['application']}/{made['version']}: added, {made['size_bytes']} bytes")


@releases.command("move")
def move_release(release: str, channel: str) -> None:
    """Move a release to another channel."""
    _client().call("PATCH", f"/releases/{_release(release)['id']}", {"channel": channel})
    typer.echo(f"{release}: in the channel {channel}")


@releases.command("withdraw")
def withdraw(release: str) -> None:
    """Give a release to nobody any more."""
    _client().call("PATCH", f"/releases/{_release(release)['id']}", {"withdrawn": True})
    typer.echo(f"{release}: withdrawn")


def _release(text: str) -> dict[str, Any]:
    for release in _client().call("GET", "/releases")["releases"]:
        if text in (f"{release['application']}/{release['version']}", str(release["id"])):
            return dict(release)
    raise CommandError(f"there is no release {text}: give one as garden/2.0.0")


# Roll-outs


@rollout.command("start")
def start_rollout(
    release: Annotated[str, typer.Argument(metavar="APPLICATION/VERSION")],
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PERCENT[/TIME][@GROUP]",
            help="As 10/1h, then 100: each goes on for so long before the next. [default: 100]",
        ),
    ] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only boards of these groups.")] = None,
    at: Annotated[str, typer.Option(metavar="TIME", help="As 2026-12-01T03:00, here.")] = "",
    at_once: Annotated[int | None, typer.Option(help="Downloads at the same time.")] = None,
    per_minute: Annotated[int | None, typer.Option(help="Downloads that begin a minute.")] = None,
    abort_share: Annotated[float, typer.Option(help="It stops when more of them fail.")] = 0.2,
    abort_minimum: Annotated[int, typer.Option(help="But not before so many have ended.")] = 5,
    needed: Annotated[int, typer.Option(help="So many must confirm it in each phase.")] = 1,
    timeout: Annotated[str, typer.Option(help="Without a word for so long it has failed.")] = "1d",
) -> None:
    """Begin a roll-out."""
    body = {
        "release": _release(release)["id"],
        "phases": [_phase(text, needed) for text in phase or ["100"]],
        "groups": group or [],
        "starts_at": _moment(at) if at else None,
        "downloads_at_once": at_once,
        "downloads_per_minute": per_minute,
        "abort_share": abort_share,
        "abort_minimum": abort_minimum,
        "timeout_s": _seconds(timeout),
    }
    made = _client().call("POST", "/rollouts", body)
    typer.echo(f"roll-out {made['id']} of {release}: {made['state']}")


@rollout.command("list")
def list_rollouts(as_json: Json = False) -> None:
    """List roll-outs."""
    found = _client().call("GET", "/rollouts")["rollouts"]
    if as_json:
        _print_json(found)
        return
    _table(
        ("", "release", "state", "phase", "confirmed", "going on", "taken back", "failed", "why"),
        [
            (
                one["id"], f"{one['application']}/{one['version']}", one["state"],
                f"{one['phase'] + 1} of {len(one['phases'])}: "
                f"{one['phases'][one['phase']]['percent']:g} %",
                one["counts"]["confirmed"], one["counts"]["open"], one["counts"]["reverted"],
                one["counts"]["failed"] + one["counts"]["timed_out"], one["why"],
            )
            for one in found
        ],
    )  # fmt: skip


@rollout.command("show")
def show_rollout(number: int, as_json: Json = False) -> None:
    """Tell all of a roll-out, and which boards it has come to."""
    client = _client()
    found = client.call("GET", f"/rollouts/{number}")
    history = client.call("GET", f"/rollouts/{number}/attempts")["attempts"]
    if as_json:
        _print_json(found | {"attempts": history})
        return
    for name, value in found.items():
        typer.echo(f"{name:20} {'' if value is None else value}")
    _attempts(history)


def _move(number: int, move: str) -> None:
    made = _client().call("POST", f"/rollouts/{number}/{move}")
    typer.echo(f"roll-out {number} of {made['application']}/{made['version']}: {made['state']}")


@rollout.command("pause")
def pause(number: int) -> None:
    """Hold a roll-out."""
    _move(number, "pause")


@rollout.command("resume")
def resume(number: int) -> None:
    """Let a paused roll-out go on."""
    _move(number, "resume")


@rollout.command("cancel")
def cancel(number: int) -> None:
    """End a roll-out for good; boards that run the release keep it."""
    _move(number, "cancel")


def _phase(text: str, needed: int) -> dict[str, object]:
    match = _PHASE.fullmatch(text)
    if not match:
        raise CommandError(f"{text!r} is no phase: give one as 10/1h, or 10/1h@lab")
    percent, count, unit, group = match.groups()
    soak_s = int(count) * _UNITS_S[unit] if count else 0
    groups = [group] if group else []
    return {"percent": float(percent), "soak_s": soak_s, "needed": needed, "groups": groups}


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if not match:
        raise CommandError(f"{text!r} is no time: give one as 90s, 30m, 12h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


def _moment(text: str) -> float:
    for form in ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        try:
            return time.mktime(time.strptime(text, form))
        except ValueError:
            continue
    raise CommandError(f"{text!r} is no time: give one as 2026-12-01T03:00")


# What is printed


def _quoted(mac: str) -> str:
    from urllib.parse import quote

    return quote(mac, safe="")


def _attempts(history: list[dict[str, Any]]) -> None:
    _table(
        ("board", "release", "was", "given", "state", "the board's words"),
        [
            (
                one["mac"], f"{one['application']}/{one['version']}", one["was"],
                _ago(one["offered"]), one["state"], one["words"],
            )
            for one in history
        ],
    )  # fmt: skip


def _ago(moment: float | None) -> str:
    if moment is None:
        return "never"
    seconds = max(0, int(time.time() - moment))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit} ago"
    return f"{seconds}s ago"


def _print_json(found: object) -> None:
    typer.echo(json.dumps(found, indent=1))


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False, header_style="")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)
