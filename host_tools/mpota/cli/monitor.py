"""`mpota monitor`: show what a board says on its serial port."""

from datetime import datetime

import typer

from mpota.board.console import lines
from mpota.board.port import open_port, reopen_port
from mpota.cli.port import DtrOption, PortOption, RtsOption, chosen_port


def monitor(
    port: PortOption = "",
    dtr: DtrOption = None,
    rts: RtsOption = None,
) -> None:
    """Show the board's console with the time of each line, until Ctrl-C.

    When the port goes away, it is opened again as soon as it comes back.
    """
    port = chosen_port(port)
    levels = [None if level is None else bool(level) for level in (dtr, rts)]
    connection = open_port(port, dtr=levels[0], rts=levels[1])
    while True:
        typer.echo(f"{port} is open; Ctrl-C ends this")
        try:
            for line in lines(connection):
                if line is not None:
                    typer.echo(f"{datetime.now():%H:%M:%S.%f}"[:-3] + f"  {line}")
        except OSError:
            typer.echo(f"{port} went away; waiting for it to come back")
        finally:
            connection.close()
        connection = reopen_port(port, dtr=levels[0], rts=levels[1])
