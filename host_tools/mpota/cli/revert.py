"""`mpota revert`: let a board go back to the version before."""

import typer

from mpota.arduino.status import request
from mpota.cli.boards import BOARD_PORT, Board, Password, Port


def revert(board: Board, port: Port = BOARD_PORT, auth: Password = "") -> None:
    """Go back to the version before the one that runs, which is then on trial.

    The board restarts. While a version is on trial, this is the same as reject.

    Only a board with a password does so.
    """
    request("revert", board, port, auth)
    typer.echo(f"{board}: the board restarts with the version before")
