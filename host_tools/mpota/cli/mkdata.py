"""`mpota mkdata`: make a data image of a directory."""

from pathlib import Path
from typing import Annotated

import typer

from mpota.cli.sign import SIGNED, application_key
from mpota.errors import CommandError
from mpota.image import data


def mkdata(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The directory with the data files.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The image to make: FILE.tar for a tar, FILE.bin for a littlefs.",
        ),
    ],
) -> None:
    """Make an image of the files in DIR, which becomes a board's folder /data.

    Files whose names begin with a dot are left out. The image is signed when private.key lies in
    DIR. Send it with 'mpota upload -s', or together with an application by --data.
    """
    kind = data.SUFFIXES.get(output.suffix)
    if kind is None:
        raise CommandError(
            f"{output} is not the name of a data image: give a name that ends in .tar, or in .bin "
            "for a littlefs"
        )
    key = application_key(directory)
    made = data.pack(directory, kind, key)
    try:
        output.write_bytes(made)
    except OSError as error:
        raise CommandError(f"cannot write {output} ({error.strerror}): give another -o") from error
    if key:
        typer.echo(SIGNED.format(output), err=True)
    typer.echo(f"{kind}: {len(data.read(made).files)} files, {len(made)} bytes, {output}")
