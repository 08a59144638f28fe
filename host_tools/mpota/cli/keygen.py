"""`mpota keygen`: make the pair of keys that images are signed and verified with."""

import os
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mpota.errors import CommandError
from mpota.image.keys import (
    EXPONENT,
    LONGEST_BITS,
    PRIVATE_KEY,
    PUBLIC_KEY,
    SHORTEST_BITS,
    check_bits,
)

_SECRET, _PUBLIC = 0o600, 0o644  # modes


def keygen(
    bits: Annotated[
        int,
        typer.Option(help=f"{SHORTEST_BITS} to {LONGEST_BITS}; longer keys verify more slowly."),
    ] = 2048,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="The folder for the keys.")
    ] = Path(),
) -> None:
    """Make private.key and public.key in DIR, as openssl's genrsa and rsa -pubout do."""
    check_bits(bits, "a key")
    private_path, public_path = output / PRIVATE_KEY, output / PUBLIC_KEY
    for path in (private_path, public_path):
        if os.path.lexists(path):
            raise _exists(path)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(output, error) from error
    key = rsa.generate_private_key(EXPONENT, bits)
    private_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(private_path, private_pem, _SECRET)
    try:
        _write(public_path, public_pem, _PUBLIC)
    except CommandError:
        private_path.unlink()  # a lone private key would make the next try fail
        raise
    typer.echo(
        f"{private_path}: the private key, {bits} bits. Whoever has it can update your boards: "
        "keep a copy in a safe place, and keep it out of version control.\n"
        f"{public_path}: the public key, for the boards\n"
        "next: keep private.key in the application's folder, where 'mpota pack' and 'mpota upload' "
        "sign with it,\n"
        f"      and give each board the public key: 'mpota flash --publickey {public_path}', with\n"
        "      --keep-firmware for a board that is set up already; or, over the air, upload a\n"
        "      release with a file ota.keys, which is a copy of public.key"
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Make a new file; it is given its mode before its content, which may be secret."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> CommandError:
    return CommandError(
        f"cannot write {path} ({error.strerror}): give a folder that you can write to with -o"
    )


def _exists(path: Path) -> CommandError:
    return CommandError(
        f"{path} exists, and boards may depend on it: use it, or give another folder with -o"
    )
