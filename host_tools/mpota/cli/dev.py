"""`mpota dev`: keep a board up to date with a folder, and show its log, without a cable."""

import re
import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mpota import arduino
from mpota.arduino.outcomes import RefusedError, UploadError
from mpota.arduino.sockets import resolve
from mpota.arduino.status import Status, ask_status, request
from mpota.arduino.trial import follow
from mpota.cli.boards import BOARD_PORT, PORT_LIMIT, Password, Port
from mpota.cli.pack import show_warnings
from mpota.cli.progress import Display
from mpota.cli.sign import application_key
from mpota.errors import CommandError
from mpota.folder import Folder
from mpota.image.directory import PackedImage, pack_directory
from mpota.log_lines import PORT as LOG_PORT
from mpota.log_lines import LogLines

_WAIT_S = 180.0
_REJECTED, _BELOW_FLOOR = 35, 36  # error numbers of a board
_TRIES = 5  # uploads, each with a higher sequence than the one before


def dev(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The application's directory.")],
    ip: Annotated[
        str, typer.Option("-i", "--ip", metavar="IP", help="The board's address or name.")
    ],
    port: Port = BOARD_PORT,
    auth: Password = "",
    log_port: Annotated[
        int,
        typer.Option(
            "--log-port",
            min=1,
            max=PORT_LIMIT,
            help="The UDP port of this computer that the board sends its log to.",
        ),
    ] = LOG_PORT,
) -> None:
    """Upload DIR to a board now and after each change of its files, until Ctrl-C.

    Each upload has a higher sequence than the one before; nothing in DIR is changed. On a board
    with a password, a version that is still on trial is confirmed when the next one is ready.

    The board's log is shown too, if the board's setting log_host is this computer's address.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    folder = Folder(directory)
    board = _Board(ip, resolve(ip), port, auth, console, folder)
    with LogLines(board.address, log_port, lambda line: console.print(f"  | {line}")) as lines:
        while True:
            board.update(directory)
            if not lines.count and board.has_restarted:
                console.print(_hint(board.address, log_port))
                lines.count = 1  # so that the hint is shown only once
            console.print(f"waiting for changes of {directory}; Ctrl-C ends it")
            folder.wait()


def _hint(board: str, log_port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((board, log_port))  # chooses the own address; sends nothing
        own = udp.getsockname()[0]
    host = own if log_port == LOG_PORT else f"{own}:{log_port}"
    return (
        "no log line has come from the board: to have it send its log here, connect it over serial "
        f"once and run 'mpota config set log_host={host}'"
    )


class _Board:
    """The board that is kept up to date with `folder`."""

    has_restarted = False

    def __init__(
        self, name: str, address: str, port: int, password: str, console: Console, folder: Folder
    ):
        self.address = address
        self._name, self._port, self._password = name, port, password
        self._console, self._folder = console, folder
        self._sequence: int | None = None  # the highest one that the board is known to have seen

    def update(self, directory: Path) -> None:
        """Pack and send the folder, and wait for the end of the trial; print an error if any."""
        try:
            packed = self._send(directory)
            self._await_end(packed)
        except CommandError as error:
            typer.echo(f"error: {error}", err=True)

    def _send(self, directory: Path) -> PackedImage:
        if self._sequence is None:
            status = ask_status(self.address, self._port, self._password)
            tried = re.match(r"taken back: (\d+)", status.outcome)
            self._sequence = max(status.sequence, int(tried[1]) if tried else 0)
        for _ in range(_TRIES):
            self._sequence += 1
            packed = pack_directory(
                directory, sequence=self._sequence, private_key=application_key(directory)
            )
            show_warnings(packed)
            try:
                self._upload(packed)
                return packed
            except RefusedError as error:
                if error.code not in (_REJECTED, _BELOW_FLOOR):
                    raise
                floor = re.search(r"\d < (\d+)", str(error))
                self._sequence = max(self._sequence, int(floor[1]) if floor else 0)
        raise CommandError(
            f"the board has refused {_TRIES} sequences one after the other: see its log"
        )

    def _upload(self, packed: PackedImage) -> None:
        with Display(self._console, [self._name], len(packed.data), False) as display:
            arduino.upload(
                packed.data,
                board_ip=self.address,
                board_port=self._port,
                password=self._password,
                name=packed.manifest.name,
                progress=display[self._name].advance,
            )

    def _await_end(self, packed: PackedImage) -> None:
        name = f"{packed.manifest.name} {packed.manifest.version}, sequence {self._sequence}"
        self._console.print(f"{name}: the board has taken it, and tries it")
        ending = follow(self._ask, str(packed.manifest.sequence), _WAIT_S)
        self.has_restarted = True
        why = f": {ending.why}" if ending.why else ""
        self._console.print(f"{name}: {ending.verdict}{why}")

    def _ask(self, patience_s: float) -> Status:
        status = ask_status(self.address, self._port, self._password, patience_s)
        if status.state == "trial" and self._password and self._folder.has_changed():
            try:
                request("confirm", self.address, self._port, self._password, patience_s)
            except UploadError as error:
                self._console.print(f"the version on trial cannot be kept yet: {error}")
        return status
