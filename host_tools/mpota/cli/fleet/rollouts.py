"""`mpota fleet rollout`: how releases come to boards, step by step."""

import re
import time
from typing import Annotated

import typer

from mpota.cli.fleet.connection import client, pages
from mpota.cli.fleet.printing import (
    Json,
    newest,
    print_attempts,
    print_fields,
    print_json,
    print_table,
    release_name,
)
from mpota.cli.fleet.releases import Name, find_release
from mpota.errors import CommandError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PHASE = re.compile(r"(\d+(?:\.\d+)?)%?(?:/(\d+)([smhd]))?(?:@([!-~]+))?")

rollout = typer.Typer(no_args_is_help=True, help="Roll-outs: begin, watch, pause, cancel.")

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="The roll-out's number.")]


@rollout.command("start")
def start_rollout(
    release: Name,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PERCENT[/TIME][@GROUP]",
            help="As 10/1h, then 100: the first phase lasts for an hour before the next one "
            "begins. [default: 100]",
        ),
    ] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only boards of these groups.")] = None,
    at: Annotated[
        str, typer.Option(metavar="TIME", help="When it begins, as 2026-12-01T03:00, local time.")
    ] = "",
    at_once: Annotated[int | None, typer.Option(help="The most downloads at a time.")] = None,
    per_minute: Annotated[
        int | None, typer.Option(help="The most downloads begun in a minute.")
    ] = None,
    abort_share: Annotated[
        float,
        typer.Option(
            help="The roll-out stops by itself when a larger share of the boards does not keep the "
            "release."
        ),
    ] = 0.2,
    abort_minimum: Annotated[
        int,
        typer.Option(
            help="The roll-out can stop by itself only after this many boards' updates have ended."
        ),
    ] = 5,
    needed: Annotated[
        int,
        typer.Option(help="How many boards must confirm the release before the next phase begins."),
    ] = 1,
    timeout: Annotated[
        str, typer.Option(help="A board that sends nothing for this time counts as failed.")
    ] = "1d",
) -> None:
    """Begin a roll-out."""
    body = {
        "release": find_release(release)["id"],
        "phases": [_phase(text, needed) for text in phase or ["100"]],
        "groups": group or [],
        "starts_at": _moment(at) if at else None,
        "downloads_at_once": at_once,
        "downloads_per_minute": per_minute,
        "abort_share": abort_share,
        "abort_minimum": abort_minimum,
        "timeout_s": _seconds(timeout),
    }
    made = client().call("POST", "/rollouts", body)
    typer.echo(f"roll-out {made['id']} of {release}: {made['state']}")


@rollout.command("list")
def list_rollouts(as_json: Json = False) -> None:
    """List roll-outs."""
    found = list(pages("/rollouts", "rollouts"))
    if as_json:
        print_json(found)
        return
    print_table(
        ("", "release", "state", "phase", "confirmed", "going on", "taken back", "failed", "why"),
        [
            (
                one["id"], release_name(one), one["state"],
                f"{one['phase'] + 1} of {len(one['phases'])}: "
                f"{one['phases'][one['phase']]['percent']:g} %",
                one["counts"]["confirmed"], one["counts"]["open"], one["counts"]["reverted"],
                one["counts"]["failed"] + one["counts"]["timed_out"], one["why"],
            )
            for one in found
        ],
    )  # fmt: skip


@rollout.command("show")
def show_rollout(
    number: Number,
    state: Annotated[
        str,
        typer.Option(
            metavar="open|confirmed|reverted|failed|'timed out'|replaced",
            help="Only boards whose update is in this state.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Show all that is known of a roll-out, and the boards that it has come to."""
    found = client().call("GET", f"/rollouts/{number}")
    history = pages(f"/rollouts/{number}/attempts", "attempts", state=state)
    if as_json:
        print_json(found | {"attempts": list(history)})
        return
    print_fields(found)
    print_attempts(newest(history))


@rollout.command("pause")
def pause(number: Number) -> None:
    """Hold a roll-out: no further board gets its release until it is resumed."""
    _move(number, "pause")


@rollout.command("resume")
def resume(number: Number) -> None:
    """Let a paused roll-out go on where it was."""
    _move(number, "resume")


@rollout.command("cancel")
def cancel(number: Number) -> None:
    """End a roll-out for good; boards that run its release keep it."""
    _move(number, "cancel")


def _move(number: int, move: str) -> None:
    made = client().call("POST", f"/rollouts/{number}/{move}")
    typer.echo(f"roll-out {number} of {release_name(made)}: {made['state']}")


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
