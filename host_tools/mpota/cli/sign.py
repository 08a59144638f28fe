"""`mpota sign`: sign a file, with the options of Arduino's signing.py.

With --arduino it can replace signing.py in a build: it prints the same lines to stderr, and like
signing.py it signs nothing, without an error, in a build that has no key.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from mpota.errors import CommandError
from mpota.image import signature
from mpota.image.keys import PRIVATE_KEY, load_private_key, load_public_key, warn_of_exposure

ENABLING = "Enabling binary signing"
SIGNED = "Signed binary: {}"
_LEGACY_SIGNED = "Legacy signed binary: {}"
_NOT_SIGNING = "Not signing the generated binary"


class Mode(StrEnum):
    """What `mpota sign` makes."""

    SIGN = "sign"
    HEADER = "header"


def sign(
    mode: Annotated[
        Mode, typer.Option("-m", "--mode", help="Sign a binary, or make a header of a public key.")
    ] = Mode.SIGN,
    binary: Annotated[
        Path | None, typer.Option("-b", "--bin", metavar="FILE", help="The unsigned binary.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="The file to make.")
    ] = None,
    legacy: Annotated[
        Path | None,
        typer.Option(
            "-l", "--legacy", metavar="FILE", help="Also sign for cores up to 2.5.2, into FILE."
        ),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option("-p", "--publickey", metavar="FILE", help="For --mode header.")
    ] = None,
    private_key: Annotated[
        Path | None, typer.Option("-s", "--privatekey", metavar="FILE", help="For --mode sign.")
    ] = None,
    arduino: Annotated[
        bool,
        typer.Option(
            "--arduino",
            help="Where there is no key, or a file cannot be read or written, do as signing.py "
            "does: sign nothing, with exit status 0.",
        ),
    ] = False,
) -> None:
    """Sign a binary for boards that verify it."""
    if mode is Mode.HEADER:
        _make_header(_given(public_key, "--publickey"), _given(out, "--out"), arduino)
        return
    key_path = _given(private_key, "--privatekey")
    binary, out = _given(binary, "--bin"), _given(out, "--out")
    if arduino and not key_path.is_file():
        return
    key = _open_private_key(key_path)
    try:
        image = binary.read_bytes()
        _sign_into(out, image, key, SIGNED)
        if legacy:
            _sign_into(legacy, image, key, _LEGACY_SIGNED, legacy=True)
    except OSError as error:
        if not arduino:
            raise CommandError(
                f"cannot sign: {error.filename}: {error.strerror}: check the file"
            ) from error
        typer.echo(f"cannot sign: {error.filename}: {error.strerror}", err=True)
        typer.echo(_NOT_SIGNING, err=True)


def application_key(directory: Path) -> RSAPrivateKey | None:
    """Return the private key in an application's folder, None where there is none.

    A line tells that the key was found. Raises CommandError.
    """
    path = directory / PRIVATE_KEY
    if not path.is_file():
        return None
    key = _open_private_key(path)
    typer.echo(ENABLING, err=True)
    return key


def _open_private_key(path: Path) -> RSAPrivateKey:
    key = load_private_key(path)
    if warning := warn_of_exposure(path):
        typer.echo(warning, err=True)
    return key


def _sign_into(
    path: Path, image: bytes, key: RSAPrivateKey, line: str, *, legacy: bool = False
) -> None:
    path.write_bytes(signature.sign(image, key, legacy))
    typer.echo(line.format(path), err=True)


def _make_header(key_path: Path, out: Path, arduino: bool) -> None:
    """Write the C header that an Arduino sketch with the public key includes.

    A header that is up to date is not written again, so that nothing is compiled again.
    """
    text = "#define ARDUINO_SIGNING 0\n"
    if key_path.is_file() or not arduino:
        load_public_key(key_path)  # raises an error for a private key, given by mistake
        array = ", \n".join(f"0x{byte:02x}" for byte in key_path.read_bytes())
        text = (
            "#include <pgmspace.h>\n"
            "#define ARDUINO_SIGNING 1\n"
            f"static const char signing_pubkey[] PROGMEM = {{\n{array}\n}};\n"
        )
        typer.echo(ENABLING, err=True)
    try:
        if out.is_file() and out.read_bytes() == text.replace("\n", os.linesep).encode():
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, "ascii")
    except OSError as error:
        raise CommandError(f"cannot write {out} ({error.strerror}): give another --out") from error


def _given(path: Path | None, option: str) -> Path:
    if path is None:
        raise CommandError(f"no {option} is given: add it, or see 'mpota sign --help'")
    return path
