"""`mpota fleet operators`, `tokens` and `audit`: who may do what, and who has done what."""

import sys
from typing import Annotated
from urllib.parse import quote

import typer

from mpota.cli.fleet.connection import client, pages
from mpota.cli.fleet.printing import Json, newest, print_json, print_table
from mpota.server.times import moment

operators = typer.Typer(no_args_is_help=True, help="Operators: who may log in.")
tokens = typer.Typer(no_args_is_help=True, help="Tokens: keys to the API, for programs.")

Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="read|boards|releases|rollouts|admin",
        help="What is allowed. Give this option again for further scopes. [default: read]",
    ),
]


def ask_password(question: str, *, twice: bool = False) -> str:
    """Ask for a password on a terminal; elsewhere it is the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(question, hide_input=True, confirmation_prompt=twice))
    return sys.stdin.readline().rstrip("\n")


@operators.command("list")
def list_operators(as_json: Json = False) -> None:
    """List everybody who may log in."""
    found = client().call("GET", "/operators")["operators"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("name", "scopes", "since", ""),
        [
            (
                one["name"], ", ".join(one["scopes"]), moment(one["created"]),
                "must choose another password" if one["must_change"] else "",
            )
            for one in found
        ],
    )  # fmt: skip


@operators.command("add")
def add_operator(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name to log in with.")],
    scope: Scopes = None,
) -> None:
    """Let somebody log in; the first password is asked for, or read from standard input.

    Whoever logs in with it must choose another one.
    """
    body = {
        "name": name,
        "password": ask_password(f"First password of {name}", twice=True),
        "scopes": scope or ["read"],
    }
    client().call("POST", "/operators", body)
    typer.echo(f"{name}: added")


@operators.command("remove")
def remove_operator(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The operator's name.")],
) -> None:
    """Remove an operator; the operator's tokens end, too."""
    client().call("DELETE", f"/operators/{quote(name, safe='')}")
    typer.echo(f"{name}: removed")


@tokens.command("list")
def list_tokens(as_json: Json = False) -> None:
    """List tokens, without their texts, the newest first."""
    found = pages("/tokens", "tokens")
    if as_json:
        print_json(list(found))
        return
    print_table(
        ("", "name", "operator", "scopes", "since", "until"),
        [
            (
                one["id"], one["name"], one["operator"], ", ".join(one["scopes"]),
                moment(one["created"]), moment(one["expires"]) or "for ever",
            )
            for one in newest(found)
        ],
    )  # fmt: skip


@tokens.command("add")
def add_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    scope: Scopes = None,
    days: Annotated[int, typer.Option(min=0, help="Days until the token ends; 0: never.")] = 365,
) -> None:
    """Make a token, and print its text, which is not shown again."""
    body = {"name": name, "scopes": scope or ["read"], "days": days or None}
    typer.echo(client().call("POST", "/tokens", body)["text"])


@tokens.command("remove")
def remove_token(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As 'tokens list' has it.")],
) -> None:
    """Take a token away."""
    client().call("DELETE", f"/tokens/{number}")
    typer.echo(f"token {number}: removed")


def audit(as_json: Json = False) -> None:
    """Show what operators have done, and the server by itself, the latest first."""
    found = pages("/audit", "entries")
    if as_json:
        print_json(list(found))
        return
    print_table(
        ("when", "who", "from", "what", "of what", ""),
        [
            (
                moment(one["at"]), one["operator"] or "the server", one["address"], one["what"],
                one["target"], one["detail"],
            )
            for one in newest(found)
        ],
    )  # fmt: skip
