"""`mpota confirm`: keep the version that a board tries."""

import typer

from mpota.arduino.status import request
from mpota.cli.boards import BOARD_PORT, Board, Password, Port


def confirm(board: Board, port: Port = BOARD_PORT, auth: Password = "") -> None:
    """Keep the version that is on trial: every boot runs it from now on.

    Only a board with a password does so.
    """
    request("confirm", board, port, auth)
    typer.echo(f"{board}: confirmed")
