"""`mpota upload`: send an image, or a directory packed on the way, to boards, and see it tried.

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
from mpota.cli.delivery import Delivery, Payload, deliver
from mpota.cli.pack import show_warnings
from mpota.cli.progress import LineConsole
from mpota.cli.sign import SIGNED, application_key
from mpota.errors import CommandError, DamagedImageError
from mpota.image.directory import pack_directory
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
            help="The board's address or name; a pattern, as 'garden-*', for all boards whose "
            "names it has; several times for several.",
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
        typer.Option("-I", "--host_ip", metavar="IP", help="The address to be connected to."),
    ] = "0.0.0.0",
    port: Port = BOARD_PORT,
    host_port: Annotated[
        int,
        typer.Option(
            "-P",
            "--host_port",
            min=0,
            max=PORT_LIMIT,
            help="The TCP port that the board connects to on this computer; 0: any free one.",
        ),
    ] = 0,
    auth: Password = "",
    http: Pages = None,
    user: User = PAGE_USER,
    classic: Annotated[
        bool,
        typer.Option(
            "--classic",
            help="Fall back to Arduino's MD5 handshake where the board does not answer the "
            "SHA-256 one; with --http, to what a page asks for in place of it.",
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
    wait_s: Annotated[
        float,
        typer.Option(
            "--wait-s",
            metavar="SECONDS",
            min=0,
            help="How long to wait for the end of the trial of the new version.",
        ),
    ] = _WAIT_S,
    to_all: Annotated[
        bool, typer.Option("--all", help="To all boards with mpota in this network.")
    ] = False,
    at_once: Annotated[
        int, typer.Option("--at-once", metavar="N", min=1, help="To how many boards at a time.")
    ] = _AT_ONCE,
    max_failures: Annotated[
        int | None,
        typer.Option(
            "--max-failures",
            metavar="N",
            min=1,
            show_default=False,
            help="When the update of so many boards has failed, begin no other one.",
        ),
    ] = None,
    no_wait: Annotated[
        bool,
        typer.Option("--no-wait", help="End when the board has the image, without its trial."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("-d", "--debug", help="Tell each step; show errors with a traceback.")
    ] = False,
    progress: Annotated[
        bool, typer.Option("-r", "--progress", help="Show the bar even where it is not a terminal.")
    ] = False,
) -> None:
    """Send FILE to a board, and wait until the board has tried it.

    Exit status 0: confirmed; or verified and taken, with --no-wait or where the board tells nothing
    more. 1: failed or taken back. 2: taken, and not decided yet. Of several boards, the worst.

    FILE.signed is sent in place of FILE where it stands beside it. A directory is packed first, and
    signed when private.key lies in it.
    """
    console = LineConsole(force_terminal=True if progress else None)
    context.meta[DEBUG] = debug
    debug = debug or context.find_root().params["debug"]
    boards = http or ip or []
    if bool(boards) == to_all or (http and ip):
        raise CommandError(
            "give the board's address or name with -i, or its page with --http, or --all"
        )
    if http and spiffs:
        raise CommandError("the page takes applications and nothing else: leave out --spiffs")
    patterns = ["*"] if to_all else [board for board in ip or [] if is_pattern(board)]
    if (len(boards) > 1 or patterns) and host_port:
        raise CommandError(
            "-P gives one port, and each of several boards needs one of its own: leave it out, or "
            "upload to one board after the other"
        )
    payload = _payload(_chosen(file, image_file), spiffs, classic, console)
    found = matching(patterns) if patterns else {}
    boards = [board for board in boards if board not in patterns]
    boards += [board for board in found if board not in boards]
    delivery = Delivery(
        payload=payload,
        port=port,
        host_ip=host_ip,
        host_port=host_port,
        data=spiffs,
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


def _payload(file: Path, spiffs: bool, classic: bool, console: Console) -> Payload:
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
        if _is_older(signed, file):
            typer.echo(
                f"warning: {signed} is older than {file}: sign it again, or delete {signed.name}",
                err=True,
            )
        file = signed
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise CommandError(f"{file} does not exist: check the name, or pack it first") from error
    except OSError as error:
        raise CommandError(f"cannot read {file} ({error.strerror}): check the file") from error
    if data[:1] == FIRMWARE and not (spiffs or classic):
        raise CommandError(describe(data, file.name))
    if not spiffs:
        try:
            return _application(data, image.read(data).manifest)
        except DamagedImageError:  # what a board does not take, it says so in its own words
            pass
    return Payload(data, file.name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name, with what was added to it, is too long for a file
        return False


def _is_older(path: Path, other: Path) -> bool:
    try:
        return path.stat().st_mtime_ns < other.stat().st_mtime_ns
    except OSError:  # there is no other
        return False


def _application(data: bytes, manifest: Manifest) -> Payload:
    return Payload(data, f"{manifest.name} {manifest.version}", manifest.sequence)
