"""`mpota reject`: take back the version that a board has on trial."""

import typer

from mpota.arduino.status import request
from mpota.cli.boards import BOARD_PORT, Board, Password, Port


def reject(board: Board, port: Port = BOARD_PORT, auth: Password = "") -> None:
    """Take back the version that is on trial.

    The board restarts with the version that it ran before, and does not take this release again.

    Only a board that has a password takes this command.
    """
    request("reject", board, port, auth)
    typer.echo(f"{board}: taken back; the board restarts with the version that it ran before")
