"""`mpota verify`: tell whether an image is signed with a key."""

from pathlib import Path
from typing import Annotated

import typer

from mpota import image
from mpota.errors import CommandError
from mpota.image import romfs, signature, trailer
from mpota.image.keys import load_public_key

_SIGN = "sign it with 'mpota sign', or pack it with private.key in the application's folder"


def verify(
    file: Annotated[Path, typer.Argument(metavar="IMAGE", help="A signed file.")],
    public_key: Annotated[
        Path, typer.Option("-p", "--publickey", metavar="FILE", help="The public key, in PEM.")
    ],
) -> None:
    """Check IMAGE's signature.

    Exit status 0: IMAGE is signed with this key and was not changed since.
    """
    key = load_public_key(public_key)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {file} ({error.strerror}): check the name") from error
    content, signed = trailer.split(data)
    if signed is None:
        raise CommandError(_no_trailer(file, data))
    bits = key.key_size
    if len(signed) * 8 != bits:
        raise CommandError(
            f"{file} is signed with another key, of {len(signed) * 8} bits, and {public_key} has "
            f"{bits}: give the public key that belongs to it"
        )
    if signature.verify(content, signed, key):
        typer.echo(f"{file}: good signature, RSA of {bits} bits with SHA-256")
    elif signature.verify(content, signed, key, legacy=True):
        typer.echo(f"{file}: good signature, RSA of {bits} bits in the legacy form (up to 2.5.2)")
    elif signature.signs_another_image(signed, key):
        raise CommandError(
            f"{file} was changed after it was signed: do not use it, build and sign it again"
        )
    else:
        raise CommandError(
            f"{file} is signed with another key than {public_key}, or its signature is damaged: "
            "give the public key that belongs to it, or sign it again"
        )


def _no_trailer(file: Path, data: bytes) -> str:
    if data.startswith(romfs.MAGIC):
        try:
            image.read(data)
        except CommandError as error:
            return f"{file} has no signature at its end: {error}"
    return f"{file} has no signature: {_SIGN}"
