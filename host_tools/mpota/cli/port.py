"""The serial port that a command uses: the one given, the only one, or one that is asked for."""

import sys
from typing import Annotated

import typer

from mpota.board.port import only_port, serial_ports
from mpota.errors import CommandError

PortOption = Annotated[
    str,
    typer.Option("--port", metavar="PORT", help="The serial port; default: the only one there is."),
]
DtrOption = Annotated[
    int | None,
    typer.Option(
        "--dtr", min=0, max=1, help="Set this line of the adapter when the port is opened."
    ),
]
RtsOption = Annotated[
    int | None,
    typer.Option(
        "--rts", min=0, max=1, help="The same, for boards that an idle line holds in reset."
    ),
]


def chosen_port(given: str) -> str:
    """Return the port to use. Raises CommandError where nobody can be asked."""
    if given:
        return given
    ports = serial_ports()
    if len(ports) < 2 or not sys.stdin.isatty():
        return only_port()
    for n, port in enumerate(ports, 1):
        typer.echo(f"{n}  {port}")
    number: int = typer.prompt("Number of the port", type=int)
    if not 1 <= number <= len(ports):
        raise CommandError(f"there is no port number {number}: give one from 1 to {len(ports)}")
    return ports[number - 1].partition(" ")[0]
