"""`mpota upload`: send an image, or a directory that is packed first, to boards, and follow it.

The options are those of Arduino's espota.py, and a few more.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mpota import image
from mpota.board.firmware_file import FIRMWARE, describe
from mpota.cli import DEBUG
from mpota.cli.boards import (
    BOARD_PORT,
    PAGE_USER,
    PORT_LIMIT,
    Pages,
    Password,
    Port,
    User,
    is_pattern,
    matching,
)
from mpota.cli.delivery import DATA, Delivery, Payload, deliver
from mpota.cli.pack import data_file, show_warnings
from mpota.cli.progress import LineConsole
from mpota.cli.sign import SIGNED, application_key
from mpota.errors import CommandError, DamagedImageError
from mpota.image import data
from mpota.image.data import GZIP, pack_together
from mpota.image.manifest import Manifest

_WAIT_S = 180.0
_AT_ONCE = 8


def upload(
    context: typer.Context,
    ip: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--ip",
            metavar="IP",
            show_default=False,
            help="The board's address or name. A pattern such as 'garden-*' stands for all boards "
            "with such names. Give this option several times for several boards.",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="An image, or an application's directory."),
    ] = None,
    image_file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="The same as FILE.")
    ] = None,
    host_ip: Annotated[
        str,
        typer.Option(
            "-I",
            "--host_ip",
            metavar="IP",
            help="The address of this computer that the board connects to.",
        ),
    ] = "0.0.0.0",
    port: Port = BOARD_PORT,
    host_port: Annotated[
        int,
        typer.Option(
            "-P",
            "--host_port",
            min=0,
            max=PORT_LIMIT,
            help="The TCP port of this computer that the board connects to; 0: any free one.",
        ),
    ] = 0,
    auth: Password = "",
    http: Pages = None,
    user: User = PAGE_USER,
    classic: Annotated[
        bool,
        typer.Option(
            "--classic",
            help="Allow Arduino's MD5 handshake with a board that does not answer the SHA-256 one; "
            "with --http, allow MD5 or Basic authentication if the page asks for that.",
        ),
    ] = False,
    spiffs: Annotated[
        bool,
        typer.Option(
            "-s",
            "--spiffs",
            help="Send FILE as data for the file system, as espota.py does: a tar or a littlefs "
            "image, or a directory.",
        ),
    ] = False,
    data_path: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="The data that belong to the application: a directory, or an image made by 'mpota "
            "pack --data'. The board tries application and data together.",
        ),
    ] = None,
    wait_s: Annotated[
        float,
        typer.Option(
            "--wait-s",
            metavar="SECONDS",
            min=0,
            help="How long to wait for the end of the new version's trial.",
        ),
    ] = _WAIT_S,
    to_all: Annotated[
        bool, typer.Option("--all", help="Send to all boards with mpota in this network.")
    ] = False,
    at_once: Annotated[
        int,
        typer.Option("--at-once", metavar="N", min=1, help="Send to N boards at a time at most."),
    ] = _AT_ONCE,
    max_failures: Annotated[
        int | None,
        typer.Option(
            "--max-failures",
            metavar="N",
            min=1,
            show_default=False,
            help="When N boards have failed, begin no further upload.",
        ),
    ] = None,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait", help="End when the board has taken the image; do not wait for its trial."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("-d", "--debug", help="Show each step, and errors with a traceback.")
    ] = False,
    progress: Annotated[
        bool,
        typer.Option("-r", "--progress", help="Show a bar even if the output is not a terminal."),
    ] = False,
) -> None:
    """Send FILE to a board, and wait until the board has tried it.

    Exit status 0: the new version is confirmed; or the board has verified and taken it, with
    --no-wait or where the board tells nothing more. 1: the update failed or was taken back. 2: the
    board has taken the image and its trial has not ended yet. With several boards, the worst of
    their results counts.

    If FILE.signed exists, it is sent instead of FILE. A directory is packed first, and signed if
    private.key lies in it. If FILE.data.tar exists, the data that belong to the application are
    sent before it.
    """
    console = LineConsole(force_terminal=True if progress else None)
    context.meta[DEBUG] = debug
    debug = debug or context.find_root().params["debug"]
    boards = http or ip or []
    if bool(boards) == to_all or (http and ip):
        raise CommandError(
            "give the board's address or name with -i, or its page with --http, or --all"
        )
    if spiffs and data_path:
        raise CommandError("--data belongs to an application: leave out --spiffs, or --data")
    patterns = ["*"] if to_all else [board for board in ip or [] if is_pattern(board)]
    if (len(boards) > 1 or patterns) and host_port:
        raise CommandError(
            "-P gives one port, and each of several boards needs one of its own: leave it out, or "
            "upload to one board after the other"
        )
    payload = _payload(_chosen(file, image_file), spiffs, data_path, classic, console)
    found = matching(patterns) if patterns else {}
    boards = [board for board in boards if board not in patterns]
    boards += [board for board in found if board not in boards]
    delivery = Delivery(
        payload=payload,
        port=port,
        host_ip=host_ip,
        host_port=host_port,
        password=auth,
        classic=classic,
        wait_s=None if no_wait else wait_s,
        user=user if http else "",
        found=found,
        most=at_once,
        max_failures=max_failures,
    )
    raise typer.Exit(deliver(delivery, boards, console, debug))


def _chosen(file: Path | None, image_file: Path | None) -> Path:
    if file and image_file:
        raise CommandError(f"two files are given, {file} and {image_file}: give one")
    chosen = file or image_file
    if not chosen:
        raise CommandError("no file is given: name an image or an application's directory")
    return chosen


def _payload(
    file: Path, spiffs: bool, data_path: Path | None, classic: bool, console: Console
) -> Payload:
    if spiffs:
        return _data_payload(file, classic, console)
    if file.is_dir():
        packed, made = pack_together(file, data_path, application_key(file))
        show_warnings(packed)
        if packed.signed:
            release = f"{packed.manifest.name} {packed.manifest.version}"
            typer.echo(SIGNED.format(release), err=True)
        return _application(packed.data, packed.manifest, made)
    image_data = _read(file, console)
    if image_data[:1] == FIRMWARE and not classic:
        raise CommandError(describe(image_data, file.name))
    try:
        manifest = image.read(image_data).manifest
    except DamagedImageError:  # the board refuses the file, and says why
        return Payload(image_data, file.name)
    return _application(image_data, manifest, _data_of(file, manifest, data_path, console))


def _data_payload(file: Path, classic: bool, console: Console) -> Payload:
    """Return the payload for -s.

    With --classic no kind of image is refused: the board may run an Arduino sketch.
    """
    if file.is_dir():
        key = application_key(file)
        made = data.pack(file, data.TAR, key)
        if key:
            typer.echo(SIGNED.format(file), err=True)
    else:
        made = _read(file, console)
        if not classic and not data.is_data(made) and not made.startswith(GZIP):
            raise CommandError(f"{file}: {data.what_it_is(made)}")
    return Payload(made, file.name or str(file), DATA)


def _data_of(
    file: Path, manifest: Manifest, data_path: Path | None, console: Console
) -> bytes | None:
    """Return the data image that belongs to an application's image; None: send no data."""
    if manifest.data is None:
        if data_path:
            raise CommandError(
                f"{file} was packed without data: pack the application with 'mpota pack --data'"
            )
        return None
    path = data_path or data_file(file)
    if data_path is None and not _is_file(path):
        console.print(
            f"the application is sent without its data, since {path} does not exist: the board "
            "must have them already"
        )
        return None
    made = _read(path, console)
    if not data.digest(made).startswith(manifest.data):
        raise CommandError(
            f"{path} does not hold the data that {file} was packed with: pack both again, together"
        )
    return made


def _read(file: Path, console: Console) -> bytes:
    signed = file.with_name(file.name + ".signed")
    if _is_file(signed):
        console.print(f"sending {signed}, which lies beside {file}, instead of it")
        if _is_older(signed, file):
            typer.echo(
                f"warning: {signed} is older than {file}: sign it again, or delete {signed.name}",
                err=True,
            )
        file = signed
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise CommandError(f"{file} does not exist: check the name, or pack it first") from error
    except OSError as error:
        raise CommandError(f"cannot read {file} ({error.strerror}): check the file") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name with its suffix is too long for the file system
        return False


def _is_older(path: Path, other: Path) -> bool:
    try:
        return path.stat().st_mtime_ns < other.stat().st_mtime_ns
    except OSError:  # only one of the two files exists
        return False


def _application(made: bytes, manifest: Manifest, before: bytes | None) -> Payload:
    release = f"{manifest.name} {manifest.version}"
    return Payload(made, release, str(manifest.sequence), before)
