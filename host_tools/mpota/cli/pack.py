"""`mpota pack`: make an application image of a directory."""

from pathlib import Path
from typing import Annotated

import typer

from mpota.board.files import SERVICES
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.cli.sign import SIGNED, application_key
from mpota.errors import CommandError
from mpota.image.directory import PackedImage, pack_directory


def pack(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The application's directory.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: NAME-VERSION.img here."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The application's name.")] = None,
    version: Annotated[str | None, typer.Option(help="The release, for people.")] = None,
    sequence: Annotated[
        int | None, typer.Option(help="The release's number; grows with every release.")
    ] = None,
    with_ota: Annotated[
        bool,
        typer.Option(
            "--with-ota",
            help="Bring this version of the update services, beside the application.",
        ),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE",
            help="With --with-ota: leave out a service that the application does not need, "
            f"{' or '.join(SERVICES)}; may be given twice.",
        ),
    ] = None,
    allow_downgrade: Annotated[
        bool,
        typer.Option(
            "--allow-downgrade",
            help="Let boards that are set to allow it take this release in place of a newer one.",
        ),
    ] = False,
) -> None:
    """Make an application image of DIR, which has app.py (or app/__init__.py) with main().

    Sources are compiled. Options left out come from [tool.mpota] in DIR/pyproject.toml, where
    'exclude', a list of globs, leaves files out. The image is signed when private.key lies in DIR.
    """
    for service in without or ():
        if not with_ota or service not in SERVICES:
            raise CommandError(
                f"--without {service}: give --with-ota, and --without {' or '.join(SERVICES)}"
            )
    packed = pack_directory(
        directory,
        name=name,
        version=version,
        sequence=sequence,
        with_ota=with_ota,
        without=without or (),
        downgrade=allow_downgrade,
        private_key=application_key(directory),
    )
    manifest = packed.manifest
    if output is None:
        output = Path(f"{manifest.name}-{manifest.version}.img")
        if len(output.parts) != 1:
            raise CommandError(f"{output} is no file name: say with -o where the image goes")
    try:
        output.write_bytes(packed.data)
    except OSError as error:
        raise CommandError(f"cannot write {output} ({error.strerror}): give another -o") from error
    if packed.signed:
        typer.echo(SIGNED.format(output), err=True)
    show_warnings(packed)
    size = len(packed.data)
    typer.echo(
        f"{manifest.name} {manifest.version}, sequence {manifest.sequence}: "
        f"{len(packed.files)} files, {size} bytes, {output}\n"
        f"a slot takes {IMAGE_LIMIT_BYTES} bytes, {IMAGE_LIMIT_BYTES - size} are left"
    )


def show_warnings(packed: PackedImage) -> None:
    """Show what is to be said of an application that was packed all the same."""
    for warning in packed.warnings:
        typer.echo(warning, err=True)
