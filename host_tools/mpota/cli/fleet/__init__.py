"""`mpota fleet`: operates a server of `mpota serve`, by its API."""

import time
from typing import Annotated

import typer

from mpota.cli.fleet import connection
from mpota.cli.fleet.boards import boards
from mpota.cli.fleet.people import ask_password, audit, operators, tokens
from mpota.cli.fleet.releases import releases
from mpota.cli.fleet.rollouts import rollout
from mpota.server.client import CallError, Client, keep_login
from mpota.server.errors import NewPasswordError

_LOGIN_DAYS = 90

fleet = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
for _name, _commands in (
    ("boards", boards), ("releases", releases), ("rollout", rollout), ("operators", operators),
    ("tokens", tokens),
):  # fmt: skip
    fleet.add_typer(_commands, name=_name)
fleet.command("audit")(audit)


@fleet.callback()
def _options(
    server: Annotated[
        str, typer.Option(envvar="MPOTA_SERVER", metavar="URL", help="The server's address.")
    ] = "",
    token: Annotated[
        str,
        typer.Option(
            envvar="MPOTA_TOKEN",
            metavar="TOKEN",
            help="A token of the server. Other users of this computer can see a command line, so "
            "it is better to set the environment variable.",
        ),
    ] = "",
) -> None:
    """Operate a server of `mpota serve`. docs/SERVER.md explains boards, releases and roll-outs."""
    connection.choose(server, token)


@fleet.command()
def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="As http://192.168.0.2:8000")],
    name: Annotated[str, typer.Option(help="The operator's name.")] = "admin",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="read|boards|releases|rollouts|admin",
            help="What the token may do. Give this option again for further scopes. [default: all "
            "that the operator may]",
        ),
    ] = None,
) -> None:
    """Get a token for this computer; the password is asked for, or read from standard input.

    After a first password, which somebody else has chosen, another one is asked for.
    """
    body: dict[str, object] = {"name": name, "password": ask_password(f"Password of {name}")}
    body["token"] = {
        "name": f"mpota fleet, {time.strftime('%Y-%m-%d')}",
        "scopes": scope or [],
        "days": _LOGIN_DAYS,
    }
    try:
        made = Client(url).call("POST", "/login", body)
    except CallError as error:
        if error.name != NewPasswordError.name:
            raise
        body["new_password"] = ask_password(f"Another password of {name}", twice=True)
        made = Client(url).call("POST", "/login", body)
    path = keep_login(url.rstrip("/"), made["text"])
    typer.echo(f"logged in for {_LOGIN_DAYS} days; the token is in {path}")
