"""`mpota config`: read and change a board's settings over serial."""

import sys
from typing import Annotated

import typer

from mpota.board import settings
from mpota.board.prompt import Prompt
from mpota.board.set_up import SETTINGS_FILE
from mpota.cli.port import PortOption, chosen_port
from mpota.errors import CommandError


def config(
    action: Annotated[
        str, typer.Argument(metavar="get|set", help="get shows settings, set changes them.")
    ],
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME[=VALUE]…",
            help="For get: the settings to show; all of them if none is named. For set: new "
            "values; NAME= removes a setting, and 'key' or 'password' alone asks for the value.",
        ),
    ] = None,
    port: PortOption = "",
) -> None:
    """Show or change the settings of a board on a serial port; docs/SETTINGS.md lists them.

    The board restarts after a change. The Wi-Fi key and the password are never shown.
    """
    if action not in ("get", "set"):
        raise CommandError(f"'mpota config {action}' is not a command: give get or set")
    changes = _changes(items or []) if action == "set" else {}
    prompt = Prompt(chosen_port(port), typer.echo)
    present = {}
    if SETTINGS_FILE in prompt.files():
        present = settings.read_json(prompt.read({SETTINGS_FILE: 0})[SETTINGS_FILE])
    if action == "get":
        shown = settings.shown(present)
        for name in items or shown:
            typer.echo(f"{name} = {shown.get(name, '(not set)')}")
        prompt.reset()  # the application was stopped when the board was asked
        return
    try:
        wanted = settings.changed(present, changes)
    except CommandError:
        prompt.reset()  # as above
        raise
    prompt.write({SETTINGS_FILE: settings.to_json(wanted)})
    prompt.reset()
    typer.echo(f"{', '.join(changes)}: written; the board restarts with the new settings")


def _changes(items: list[str]) -> dict[str, object]:
    changes: dict[str, object] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals:
            text = _ask(name)
        changes[name] = settings.parse(name, text) if text else None
    if not changes:
        raise CommandError("no setting is given: give settings like hostname=valve, or password")
    return changes


def _ask(name: str) -> str:
    if not settings.is_secret(name):
        raise CommandError(f"the setting {name} has no value: give {name}=VALUE")
    if sys.stdin.isatty():
        return str(typer.prompt(f"New {name}", hide_input=True))
    return sys.stdin.readline().rstrip("\n")
