"""`mpota confirm`: keep the version that a board has on trial."""

import typer

from mpota.arduino.status import request
from mpota.cli.boards import BOARD_PORT, Board, Password, Port


def confirm(board: Board, port: Port = BOARD_PORT, auth: Password = "") -> None:
    """Keep the version that is on trial: every boot runs it from now on.

    Only a board that has a password takes this command.
    """
    request("confirm", board, port, auth)
    typer.echo(f"{board}: confirmed")
