"""`mpota fleet releases`: what can be rolled out to boards."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mpota.cli.fleet.connection import client, pages
from mpota.cli.fleet.printing import Json, print_json, print_table, release_name
from mpota.errors import CommandError

releases = typer.Typer(no_args_is_help=True, help="Releases: upload, list, move, withdraw.")

Name = Annotated[
    str, typer.Argument(metavar="RELEASE", help="As garden/2.0.0; data as garden/2.0.0/data.")
]


@releases.command("list")
def list_releases(as_json: Json = False) -> None:
    """List releases."""
    found = list(pages("/releases", "releases"))
    if as_json:
        print_json(found)
        return
    print_table(
        ("release", "sequence", "channel", "size", "signed by", ""),
        [
            (
                release_name(release), release["sequence"],
                release["channel"], release["size_bytes"], release["signed_by"] or "nobody",
                "withdrawn" if release["withdrawn"] else "",
            )
            for release in found
        ],
    )  # fmt: skip


@releases.command("add")
def add_release(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An image, a data image, or a sketch's .bin.")
    ],
    channel: Annotated[
        str, typer.Option(help="The release is for the boards of this channel.")
    ] = "stable",
    notes: Annotated[str, typer.Option(help="A line for operators.")] = "",
    application: Annotated[str, typer.Option(help="The application of a sketch or of data.")] = "",
    version: Annotated[str, typer.Option(help="The version of a sketch or of data.")] = "",
) -> None:
    """Upload a release. No board gets it before a roll-out, or a pin."""
    query = {
        "channel": channel, "notes": notes, "application": application, "version": version,
    }  # fmt: skip
    made = client().call("POST", "/releases", data=file.read_bytes(), query=query)
    typer.echo(f"{release_name(made)}: added, {made['size_bytes']} bytes")


@releases.command("move")
def move_release(
    release: Name,
    channel: Annotated[
        str, typer.Argument(metavar="CHANNEL", help="The channel whose boards may get it.")
    ],
) -> None:
    """Move a release to another channel."""
    client().call("PATCH", f"/releases/{find_release(release)['id']}", {"channel": channel})
    typer.echo(f"{release}: in the channel {channel}")


@releases.command("withdraw")
def withdraw(release: Name) -> None:
    """Withdraw a release: no further board gets it."""
    client().call("PATCH", f"/releases/{find_release(release)['id']}", {"withdrawn": True})
    typer.echo(f"{release}: withdrawn")


def find_release(text: str) -> dict[str, Any]:
    """Return the release *text*, as garden/2.0.0, or its number. Raises CommandError."""
    server = client()
    if text.isascii() and text.isdigit():
        return dict(server.call("GET", f"/releases/{text}"))
    # A slash may stand in names, too.
    parts = text.removesuffix("/data").split("/")
    for at in range(1, len(parts)):
        query = {"application": "/".join(parts[:at]), "version": "/".join(parts[at:])}
        for release in server.call("GET", "/releases", query=query)["releases"]:
            if text == release_name(release):
                return dict(release)
    raise CommandError(f"there is no release {text}: give one as garden/2.0.0")
