"""`mpota upload`: send an image, or a directory packed on the way, to a board.

The options are those of Arduino's espota.py, and --classic.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mpota import arduino, image
from mpota.arduino.handshake import Handshake
from mpota.cli.pack import show_warnings
from mpota.cli.progress import show_progress
from mpota.cli.sign import SIGNED, application_key
from mpota.errors import CommandError, DamagedImageError
from mpota.image.directory import pack_directory

_PORT_LIMIT = 65535


@dataclass(frozen=True)
class _Payload:
    """What is sent: its bytes, its name for people, and what the board's OK means for it."""

    data: bytes
    name: str
    promise: str = "the board has verified and taken it"


def upload(
    context: typer.Context,
    ip: Annotated[
        str, typer.Option("-i", "--ip", metavar="IP", help="The board's address or host name.")
    ],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="An image, or an application's directory."),
    ] = None,
    image_file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="The same as FILE.")
    ] = None,
    host_ip: Annotated[
        str,
        typer.Option("-I", "--host_ip", metavar="IP", help="The address to be connected to."),
    ] = "0.0.0.0",
    port: Annotated[
        int, typer.Option("-p", "--port", min=1, max=_PORT_LIMIT, help="The board's UDP port.")
    ] = arduino.BOARD_PORT,
    host_port: Annotated[
        int,
        typer.Option(
            "-P",
            "--host_port",
            min=0,
            max=_PORT_LIMIT,
            help="The TCP port that the board connects to on this computer; 0: any free one.",
        ),
    ] = 0,
    auth: Annotated[
        str,
        typer.Option(
            "-a",
            "--auth",
            metavar="PASSWORD",
            envvar="MPOTA_PASSWORD",
            show_default=False,
            help="The board's password. Others on this computer can see a command line: better "
            "set the environment variable.",
        ),
    ] = "",
    classic: Annotated[
        bool,
        typer.Option(
            "--classic",
            help="Fall back to Arduino's MD5 handshake where the board does not answer the "
            "SHA-256 one within 10 s.",
        ),
    ] = False,
    spiffs: Annotated[
        bool,
        typer.Option(
            "-s",
            "--spiffs",
            help="Announce FILE as data for the file system, as espota.py does: boards with mpota "
            "refuse that.",
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("-d", "--debug", help="Tell each step; show errors with a traceback.")
    ] = False,
    progress: Annotated[
        bool, typer.Option("-r", "--progress", help="Show the bar even where it is no terminal.")
    ] = False,
) -> None:
    """Send FILE to a board. Exit status 0 means that the board has verified and taken it.

    FILE.signed is sent in place of FILE where it stands beside it. A directory is packed first, and
    signed when private.key lies in it.
    """
    console = Console(
        soft_wrap=True, highlight=False, markup=False, force_terminal=True if progress else None
    )
    options = context.find_root().params  # where the command line looks for its own --debug
    options["debug"] = debug = debug or options["debug"]
    payload = _payload(_chosen(file, image_file), spiffs, console)
    with show_progress(console, len(payload.data), tell_steps=debug) as shown:
        arduino.upload(
            payload.data,
            board_ip=ip,
            board_port=port,
            host_ip=host_ip,
            host_port=host_port,
            command=arduino.FILE_SYSTEM if spiffs else arduino.FLASH,
            password=auth,
            auth="auto" if classic else "strict",
            name=payload.name,
            progress=shown.advance,
            state=shown.step,
            agreed=lambda handshake: _tell_handshake(handshake, console),
        )
    console.print(f"{payload.name}: {payload.promise}")


def _tell_handshake(handshake: Handshake, console: Console) -> None:
    asked = "password proven" if handshake.password_proven else "the board asked for no password"
    if handshake.strong:
        console.print(f"handshake: SHA-256, {asked}")
        return
    typer.echo(
        f"warning: classic MD5 handshake, {asked}: who can change what passes through the network "
        "can send another image. A board with mpota needs no --classic",
        err=True,
    )


def _chosen(file: Path | None, image_file: Path | None) -> Path:
    if file and image_file:
        raise CommandError(f"two files are given, {file} and {image_file}: give one")
    chosen = file or image_file
    if not chosen:
        raise CommandError("no file is given: name an image or an application's directory")
    return chosen


def _payload(file: Path, spiffs: bool, console: Console) -> _Payload:
    if file.is_dir():
        packed = pack_directory(file, private_key=application_key(file))
        show_warnings(packed)
        if packed.signed:
            release = f"{packed.manifest.name} {packed.manifest.version}"
            typer.echo(SIGNED.format(release), err=True)
        return _application(packed.data, packed.manifest)
    signed = file.with_name(file.name + ".signed")
    if _is_file(signed):
        console.print(f"sending {signed}, which stands beside {file}")
        file = signed
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise CommandError(f"{file} does not exist: check the name, or pack it first") from error
    except OSError as error:
        raise CommandError(f"cannot read {file} ({error.strerror}): check the file") from error
    if not spiffs:
        try:
            return _application(data, image.read(data).manifest)
        except DamagedImageError:  # what a board does not take, it says so in its own words
            pass
    return _Payload(data, file.name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name, with what was added to it, is too long for a file
        return False


def _application(data: bytes, manifest: image.Manifest) -> _Payload:
    promise = "the board has it, verified, and tries it when it restarts"
    return _Payload(data, f"{manifest.name} {manifest.version}", promise)
