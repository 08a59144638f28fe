"""`mpota pack`: make an application image of a directory."""

import glob
from pathlib import Path
from typing import Annotated

import typer

from mpota import image
from mpota.board.files import SERVICES
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.cli.sign import SIGNED, application_key
from mpota.errors import CommandError
from mpota.image import delta
from mpota.image.data import pack_together
from mpota.image.directory import PackedImage

DATA_SUFFIX = ".data.tar"  # added to an image's name, for the data that belong to the application


def pack(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The application's directory.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The image to make; default: NAME-VERSION.img, with --gzip NAME-VERSION.img.gz.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The application's name.")] = None,
    version: Annotated[
        str | None, typer.Option(help="The release's version, as people read it.")
    ] = None,
    sequence: Annotated[
        int | None,
        typer.Option(help="The release's number, which must be higher in each new release."),
    ] = None,
    with_ota: Annotated[
        bool,
        typer.Option(
            "--with-ota",
            help="Add the update services of this version of mpota to the image.",
        ),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE",
            help="With --with-ota: leave out a service that the application does not need: "
            f"{' or '.join(SERVICES)}. Give this option several times for several services.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="The directory with the data files that belong to the application. An image of "
            "them is made beside the application's image.",
        ),
    ] = None,
    allow_downgrade: Annotated[
        bool,
        typer.Option(
            "--allow-downgrade",
            help="Let boards that are set to allow it take this release in place of a newer one.",
        ),
    ] = False,
    gzip: Annotated[
        bool,
        typer.Option("--gzip", help="Compress the image; the board unpacks it as it arrives."),
    ] = False,
    delta_from: Annotated[
        Path | None,
        typer.Option(
            "--delta-from",
            metavar="OLD",
            help="Also make OUTPUT.delta, for boards that run the image OLD: it holds only what "
            "has changed since OLD.",
        ),
    ] = None,
) -> None:
    """Make an application image of DIR, which has app.py (or app/__init__.py) with main().

    Sources are compiled. The values of options that are left out come from the table [tool.mpota]
    of DIR/pyproject.toml. Three more keys may stand there: 'exclude' is a list of patterns (globs)
    for files that are left out, 'keep' a list of files in /data that an update of the data leaves
    as they are, and 'data' the directory for --data. The image is signed when private.key lies in
    DIR.
    """
    for service in without or ():
        if not with_ota or service not in SERVICES:
            raise CommandError(
                f"--without {service}: give --with-ota, and --without {' or '.join(SERVICES)}"
            )
    if gzip and delta_from:
        raise CommandError("a delta is already a gzip: leave out --gzip")
    old = _read_old(delta_from) if delta_from else b""
    packed, made = pack_together(
        directory,
        data,
        application_key(directory),
        name=name,
        version=version,
        sequence=sequence,
        with_ota=with_ota,
        without=without or (),
        downgrade=allow_downgrade,
        gzip=gzip,
    )
    manifest = packed.manifest
    if output is None:
        output = Path(f"{manifest.name}-{manifest.version}.img" + (".gz" if gzip else ""))
        if len(output.parts) != 1:
            raise CommandError(f"{output} is not a file name: say with -o where the image goes")
    same = _of_the_same_sequence(packed, output)
    _write(output, packed.data)
    if made:
        _write(data_file(output), made)
    if packed.signed:
        typer.echo(SIGNED.format(output), err=True)
    show_warnings(packed)
    if same:
        typer.echo(
            f"warning: {same} had the same sequence, {manifest.sequence}, and other content: a "
            "board that runs that release does not take this one; give a changed release a higher "
            "sequence",
            err=True,
        )
    size = len(image.unpacked(packed.data)[0])
    sent = f", {len(packed.data)} as a gzip" if gzip else ""
    typer.echo(
        f"{manifest.name} {manifest.version}, sequence {manifest.sequence}: "
        f"{len(packed.files)} files, {size} bytes{sent}, {output}\n"
        f"a slot takes {IMAGE_LIMIT_BYTES} bytes, {IMAGE_LIMIT_BYTES - size} are left"
    )
    if made:
        typer.echo(f"its data: {len(made)} bytes, {data_file(output)}")
    if old:
        changed = delta.make(old, packed.data)
        output = output.with_name(f"{output.name}.delta")
        _write(output, changed)
        base = image.read(old).manifest
        typer.echo(
            f"{len(changed)} bytes instead of {size} for boards that run {base.name} "
            f"{base.version}, {output}"
        )


def data_file(image_file: Path) -> Path:
    """Return the name of the data image that belongs to an application's image."""
    return image_file.with_name(image_file.name + DATA_SUFFIX)


def _read_old(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path} ({error.strerror}): check the name") from error
    image.read(data)
    return data


def _write(output: Path, data: bytes) -> None:
    try:
        output.write_bytes(data)
    except OSError as error:
        raise CommandError(f"cannot write {output} ({error.strerror}): give another -o") from error


def _of_the_same_sequence(packed: PackedImage, output: Path) -> Path | None:
    # Returns an earlier image of this application, in the folder where the new one is written,
    # that has the same sequence and another content. Its version may differ.
    earlier = {output, *output.parent.glob(f"{glob.escape(packed.manifest.name)}-*.img")}
    for path in sorted(earlier):
        try:
            found = image.read(path.read_bytes())
        except (OSError, CommandError):  # the file does not exist yet, or it is not an image
            continue
        ours, theirs = packed.manifest, found.manifest
        if (theirs.name, theirs.sequence) == (ours.name, ours.sequence) and (
            found.files != packed.files or theirs != ours
        ):
            return path
    return None


def show_warnings(packed: PackedImage) -> None:
    """Show the warnings of an application that was packed all the same."""
    for warning in packed.warnings:
        typer.echo(warning, err=True)
