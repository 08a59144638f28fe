"""`mpota inspect`: tell what is in an application image."""

from pathlib import Path
from typing import Annotated

import typer

from mpota import image
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.errors import CommandError


def inspect(
    file: Annotated[Path, typer.Argument(metavar="IMAGE", help="An application image.")],
) -> None:
    """Check IMAGE as a board does, and tell what is in it.

    Whether its signature is good is for 'mpota verify' to tell, which takes a key.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {file} ({error.strerror}): check the name") from error
    found = image.read(data)
    manifest = found.manifest
    left = IMAGE_LIMIT_BYTES - len(data)
    bits = f"{len(found.signature) * 8} bits" if found.signature else "none"
    rows = {
        "name": manifest.name,
        "version": manifest.version,
        "sequence": manifest.sequence,
        "board": manifest.board or "not said",
        "mpy": manifest.mpy or "not said",
        "downgrade": "allowed" if manifest.downgrade else "not allowed",
        "ROMFS": f"{found.romfs_bytes} bytes",
        "SHA-256": found.sha256,
        "signature": bits,
        "image": f"{len(data)} bytes",
        "slot": f"{IMAGE_LIMIT_BYTES} bytes, "
        + (f"{left} are left" if left >= 0 else f"{-left} too few"),
    }
    for key, value in rows.items():
        typer.echo(f"{key:<10} {value}")
    typer.echo("files")
    for name, content in found.files.items():
        typer.echo(f"{len(content):>10} {name}")
