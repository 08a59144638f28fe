"""Signed images and the board's public keys: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2), as
openssl and Arduino make them.

The keys are in /ota.keys, PEM blocks or the small binary form of docs/SPEC.md. Where that file is,
no image without a good signature is taken. RAM: about 1.5 KB while loaded; what the arithmetic
needs is in `make bench`.
"""

import gc

from micropython import const
from ubinascii import a2b_base64
from uio import BytesIO

from ..errors import OTAError

KEYS = "/ota.keys"

_FAILED = const(12)

_MIN_KEY_BYTES = const(128)  # 1024 bits
_MAX_KEY_BYTES = const(512)  # 4096 bits

# What a number is multiplied by at a time: no product gets much longer than the key.
_PIECE_BITS = const(64)

# RFC 8017, 9.2, note 1: the DigestInfo of SHA-256, but for the digest itself.
_DIGEST_INFO = const(
    b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
)
# RFC 3279, 2.3.1: the AlgorithmIdentifier of an RSA key.
_RSA = const(b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00")
# DER of the public exponent, 65537.
_EXPONENT = const(b"\x02\x03\x01\x00\x01")


def verify(digest, signature, legacy, keys=KEYS):
    """Check that one of the *keys* made *signature* over *digest*.

    *digest* is the image's SHA-256, 32 bytes. *legacy* allows the form of Arduino cores up to
    2.5.2 as well. *keys* is a file's name, or the content of such a file, as bytes. All of it is
    one step: between two of its parts nothing else may take the memory that the next one needs.
    Raises OTAError 12.
    """
    size = len(signature)
    # The whole file is read: one that is broken in any place has no key that counts.
    moduli = [m for m in read_keys(keys) if len(m) == size]
    while moduli:
        n = int.from_bytes(moduli.pop(), "big")
        s = int.from_bytes(signature, "big")
        if s >= n:
            continue
        x = s
        for _ in range(16):  # to the power of 65537
            x = _product(x, x, n, size * 8)
        block = _product(x, s, n, size * 8).to_bytes(size, "big")
        if block == _padded(_DIGEST_INFO + digest, size) or (
            legacy and block == _padded(digest, size)
        ):
            return
    raise OTAError(_FAILED)


def _product(x, y, n, bits):
    # x * y modulo n, all of at most *bits* bits.
    mask = (1 << _PIECE_BITS) - 1
    product = 0
    for shift in range(bits // _PIECE_BITS * _PIECE_BITS, -1, -_PIECE_BITS):
        product = (product << _PIECE_BITS) % n
        product = (product + x * (y >> shift & mask)) % n
    gc.collect()  # so that the next product finds a free piece that is long enough
    return product


def _padded(data, length):
    # EMSA-PKCS1-v1_5 (RFC 8017, 9.2): 00 01 FF … FF 00 data.
    return b"\x00\x01" + b"\xff" * (length - 3 - len(data)) + b"\x00" + data


def longest_key_bytes(keys=KEYS):
    """Return the length of the longest of the *keys*, in bytes. Raises OTAError 12 as read_keys."""
    longest = 0
    for modulus in read_keys(keys):
        longest = max(longest, len(modulus))
    return longest


def read_keys(keys=KEYS):
    """Yield the modulus of each of the *keys*, as bytes, big-endian.

    *keys* is a file's name, or the content of such a file, as bytes. Raises OTAError 12 where it is
    broken or has no key: such a board takes no image.
    """
    count = 0
    with open(keys, "rb") if isinstance(keys, str) else BytesIO(keys) as f:
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
    return OTAError(_FAILED, "keys: " + what)
