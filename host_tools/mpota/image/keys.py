"""RSA keys: read the PEM files of openssl and keygen, refuse keys that boards cannot use."""

import os
import struct
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

from mpota.errors import CommandError
from mpota.image import trailer

PRIVATE_KEY, PUBLIC_KEY = "private.key", "public.key"  # Arduino's file names
EXPONENT = 65537
SHORTEST_BITS, LONGEST_BITS = 8 * trailer.SHORTEST_BYTES, 8 * trailer.LONGEST_BYTES
_BINARY_MAGIC = b"MPKY"
_GENERATE = "make keys with 'mpota keygen'"


def load_private_key(path: Path) -> RSAPrivateKey:
    """Read a private key, PKCS#8 or PKCS#1 in PEM. Raises CommandError."""
    data = _read(path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise CommandError(
            f"{path} is locked with a passphrase: unlock a copy with 'openssl rsa -in {path} -out "
            "unlocked.key' and give that"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CommandError(_unreadable(path, data, "private")) from error
    if not isinstance(key, RSAPrivateKey):
        raise _no_rsa(path)
    _check(key.public_key(), path)
    return key


def load_public_key(path: Path) -> RSAPublicKey:
    """Read a public key, SubjectPublicKeyInfo or PKCS#1 in PEM. Raises CommandError."""
    data = _read(path)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CommandError(_unreadable(path, data, "public")) from error
    if not isinstance(key, RSAPublicKey):
        raise _no_rsa(path)
    _check(key, path)
    return key


def binary_keys(public_keys: list[RSAPublicKey]) -> bytes:
    """Return the content of a board's /ota.keys: `MPKY`, then each key.

    A key is the length of its modulus in bytes, u16 little-endian, and the modulus, big-endian;
    the exponent is 65537. The board takes PEM as well; this form is smaller and faster to read.
    Raises CommandError for a key that the board cannot use.
    """
    content = _BINARY_MAGIC
    for key in public_keys:
        _check(key, "a key for the board")
        size = key.key_size // 8
        content += struct.pack("<H", size) + key.public_numbers().n.to_bytes(size)
    return content


def check_bits(bits: int, what: str) -> None:
    """Check a key's length. Raises CommandError if boards cannot verify with such a key."""
    if not SHORTEST_BITS <= bits <= LONGEST_BITS or bits % 8:
        raise CommandError(
            f"{what} of {bits} bits does not fit: use {SHORTEST_BITS} to {LONGEST_BITS}, a "
            "multiple of 8; 2048 is usual"
        )


def warn_of_exposure(path: Path) -> str | None:
    """Return the warning for a private key that others on this computer can read, else None."""
    if os.name != "posix" or not path.stat().st_mode & 0o077:
        return None
    return f"warning: others on this computer can read {path}: chmod 600 {path}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(
            f"cannot read the key {path} ({error.strerror}): check the name, or {_GENERATE}"
        ) from error


def _unreadable(path: Path, data: bytes, wanted: str) -> str:
    other = "public" if wanted == "private" else "private"
    if f"{other.upper()} KEY-----".encode() in data:
        return f"{path} is a {other} key, where the {wanted} key is wanted: give that"
    return f"{path} is not a valid {wanted} key in PEM: give another file, or {_GENERATE}"


def _no_rsa(path: Path) -> CommandError:
    return CommandError(f"{path} is no RSA key, and boards verify no other kind: {_GENERATE}")


def _check(key: RSAPublicKey, name: Path | str) -> None:
    check_bits(key.key_size, f"{name}: a key")
    exponent = key.public_numbers().e
    if exponent != EXPONENT:
        raise CommandError(
            f"{name} has the public exponent {exponent}, and boards verify with {EXPONENT} only: "
            f"{_GENERATE}"
        )
