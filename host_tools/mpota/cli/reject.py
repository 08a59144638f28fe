"""`mpota reject`: take the version back that a board tries."""

import typer

from mpota.arduino.status import request
from mpota.cli.boards import BOARD_PORT, Board, Password, Port


def reject(board: Board, port: Port = BOARD_PORT, auth: Password = "") -> None:
    """Take the version on trial back.

    The board restarts into the one before, and does not take this release again.

    Only a board with a password does so.
    """
    request("reject", board, port, auth)
    typer.echo(f"{board}: taken back; the board restarts with the version before")
