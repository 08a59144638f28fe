"""`mpota inspect`: tell what is in an application image, or in one of data files."""

from pathlib import Path
from typing import Annotated

import typer

from mpota import image
from mpota.board.firmware_file import FIRMWARE, describe
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.errors import CommandError
from mpota.image import delta
from mpota.image.data import is_data
from mpota.image.data import read as read_data


def inspect(
    file: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image.")],
) -> None:
    """Check IMAGE as a board does, and tell what is in it.

    The signature is not checked here: 'mpota verify' does that, with a public key.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {file} ({error.strerror}): check the name") from error
    plain, _ = image.unpacked(data)
    if plain[:1] == FIRMWARE:
        raise CommandError(describe(plain, file.name))
    if is_data(plain) and not image.is_old(plain):
        _show_data(plain, len(data))
        return
    if plain.startswith(delta.MAGIC):
        _show(_delta(delta.read(plain), len(data)))
        return
    found = image.read(data)
    manifest = found.manifest
    left = IMAGE_LIMIT_BYTES - len(plain)
    bits = f"{len(found.signature) * 8} bits" if found.signature else "none"
    packed = f", {len(data)} as a gzip" if plain != data else ""
    _show(
        {
            "name": manifest.name,
            "version": manifest.version,
            "sequence": str(manifest.sequence),
            "board": manifest.board or "not said",
            "mpy": manifest.mpy or "not said",
            "downgrade": "allowed" if manifest.downgrade else "not allowed",
            "data": f"SHA-256 {manifest.data}…" if manifest.data else "",
            "keep": " ".join(manifest.keep),
            "ROMFS": f"{found.romfs_bytes} bytes",
            "SHA-256": found.sha256,
            "signature": bits,
            "image": f"{len(plain)} bytes{packed}",
            "slot": f"{IMAGE_LIMIT_BYTES} bytes, "
            + (f"{left} are left" if left >= 0 else f"{-left} too few"),
        }
    )
    _show_files(found.files)


def _show_data(data: bytes, sent_bytes: int) -> None:
    found = read_data(data)
    packed = f", {sent_bytes} as a gzip" if sent_bytes != len(data) else ""
    _show(
        {
            "data": found.kind,
            "SHA-256": found.sha256,
            "signature": f"{len(found.signature) * 8} bits" if found.signature else "none",
            "image": f"{len(data)} bytes{packed}",
        }
    )
    _show_files(found.files)


def _show_files(files: dict[str, bytes]) -> None:
    typer.echo("files")
    for name, content in files.items():
        typer.echo(f"{len(content):>10} {name}")


def _delta(found: delta.Delta, sent_bytes: int) -> dict[str, str]:
    copies = [part for part in found.parts if isinstance(part, delta.Copy)]
    copied = sum(part.length for part in copies)
    return {
        "delta": f"{sent_bytes} bytes",
        "from": f"{found.base}, the SHA-256 of a ROMFS",
        "to": found.result,
        "image": f"{found.size_bytes} bytes, of which {copied} come from the board",
    }


def _show(rows: dict[str, str]) -> None:
    for key, value in rows.items():
        if value:
            typer.echo(f"{key:<10} {value}")
