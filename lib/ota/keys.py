"""The public keys of this board, /ota.keys: PEM blocks, or the small binary form of docs/SPEC.md.

Where that file is, no image without a good signature is taken. Loaded for the check, and forgotten
before the arithmetic begins, which needs the room.
"""

import errno
import os
from binascii import a2b_base64

from micropython import const

from .errors import OTAError

KEYS = "/ota.keys"

_FAILED = const(12)

_MIN_KEY_BYTES = const(128)  # 1024 bits
_MAX_KEY_BYTES = const(512)  # 4096 bits

# RFC 3279, 2.3.1: the AlgorithmIdentifier of an RSA key.
_RSA = const(b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00")
# DER of the public exponent, 65537.
_EXPONENT = const(b"\x02\x03\x01\x00\x01")


def is_required():
    """Return whether this board has keys, good or broken."""
    try:
        os.stat(KEYS)
        return True
    except OSError as e:
        return e.errno != errno.ENOENT  # a flash that does not answer is no board without keys


def read_keys(path):
    """Yield the modulus of each key in the file *path*, as bytes, big-endian.

    Raises OTAError 12 where the file is broken or has no key: it is never taken for none.
    """
    count = 0
    with open(path, "rb") as f:
        blocks = _binary_blocks if f.read(4) == b"MPKY" else _pem_blocks
        for modulus in blocks(f):
            # Of 1024 to 4096 bits, and odd, as every product of two primes is.
            if not _MIN_KEY_BYTES <= len(modulus) <= _MAX_KEY_BYTES or not (
                modulus[0] & 0x80 and modulus[-1] & 1
            ):
                raise _broken("not of 1024 to 4096 bits")
            count += 1
            yield modulus
    if not count:
        raise _broken("no key")


def _binary_blocks(f):
    while True:
        head = f.read(2)
        if not head:
            return
        length = int.from_bytes(head, "little")
        modulus = f.read(min(length, _MAX_KEY_BYTES + 1))
        if len(head) != 2 or not length or len(modulus) != length:
            raise _broken("cut off")
        yield modulus


def _pem_blocks(f):
    f.seek(0)
    der = None
    while True:
        line = f.readline(128)
        if not line:
            if der is not None:
                raise _broken("no END line")
            return
        line = line.strip()
        if line.startswith(b"-----BEGIN"):
            if line not in (b"-----BEGIN PUBLIC KEY-----", b"-----BEGIN RSA PUBLIC KEY-----"):
                raise _broken("not a public key")
            if der is not None:
                raise _broken("no END line")
            der = bytearray()
        elif line.startswith(b"-----END") and der is not None:
            yield _modulus(bytes(der))
            der = None
        elif der is not None:
            try:
                der.extend(a2b_base64(line))
            except ValueError:
                raise _broken("not base64")
            if len(der) > 2 * _MAX_KEY_BYTES:
                raise _broken("too long")


def _modulus(der):
    # SubjectPublicKeyInfo (RFC 5280) or, inside it or bare, RSAPublicKey (RFC 8017, A.1.1).
    at, end = _enter(der, 0, 0x30)
    if der[at : at + len(_RSA)] == _RSA:
        at, end = _enter(der, at + len(_RSA), 0x03)
        at, end = _enter(der, at + 1, 0x30)
    at, after = _enter(der, at, 0x02)
    if der[after:end] != _EXPONENT or end != len(der):
        raise _broken("exponent is not 65537")
    while at < after and der[at] == 0:
        at += 1
    return der[at:after]


def _enter(der, at, tag):
    # Returns where the content of the item at *at* begins and ends.
    try:
        if der[at] != tag:
            raise _broken("not an RSA key")
        length = der[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            if not 0 < count < 3:
                raise _broken("not DER")
            length = int.from_bytes(der[at : at + count], "big")
            at += count
    except IndexError:
        raise _broken("cut off")
    if at + length > len(der):
        raise _broken("cut off")
    return at, at + length


def _broken(what):
    return OTAError(_FAILED, KEYS + ": " + what)
