"""`mpota revert`: let a board go back to the version that it ran before."""

import typer

from mpota.arduino.status import request
from mpota.cli.boards import BOARD_PORT, Board, Password, Port


def revert(board: Board, port: Port = BOARD_PORT, auth: Password = "") -> None:
    """Go back to the version that the board ran before the present one.

    The board restarts, and that version is then on trial. While a version is already on trial,
    this command does the same as 'mpota reject'.

    Only a board that has a password takes this command.
    """
    request("revert", board, port, auth)
    typer.echo(f"{board}: the board restarts with the version that it ran before")
