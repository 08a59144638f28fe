"""`mpota pack`: make an application image of a directory."""

from pathlib import Path
from typing import Annotated

import typer

from mpota.cli.sign import SIGNED, application_key
from mpota.errors import CommandError
from mpota.image.directory import pack_directory


def pack(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The application's directory.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: NAME-VERSION.tar here."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The application's name.")] = None,
    version: Annotated[str | None, typer.Option(help="The release, for people.")] = None,
    sequence: Annotated[
        int | None, typer.Option(help="The release's number; grows with every release.")
    ] = None,
    mpy: Annotated[
        bool | None, typer.Option("--mpy/--no-mpy", help="Compile sources to bytecode.")
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

    Options left out come from [tool.mpota] in DIR/pyproject.toml, where 'exclude', a list of globs,
    leaves files out. The image is signed when
    private.key lies in DIR.
    """
    packed = pack_directory(
        directory,
        name=name,
        version=version,
        sequence=sequence,
        mpy=mpy,
        downgrade=allow_downgrade,
        private_key=application_key(directory),
    )
    manifest = packed.manifest
    if output is None:
        output = Path(f"{manifest.name}-{manifest.version}.tar")
        if len(output.parts) != 1:
            raise CommandError(f"{output} is no file name: say with -o where the image goes")
    try:
        output.write_bytes(packed.data)
    except OSError as error:
        raise CommandError(f"cannot write {output} ({error.strerror}): give another -o") from error
    if packed.signed:
        typer.echo(SIGNED.format(output), err=True)
    typer.echo(
        f"{manifest.name} {manifest.version}, sequence {manifest.sequence}: "
        f"{len(manifest.files)} files, {len(packed.data)} bytes, {output}"
    )
