"""Signed images: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2), as openssl and Arduino make them.

Loaded for the check, and forgotten after it. How much heap the check needs is in `make bench`; a
number of 4096 bits takes pieces of little more than 512 bytes.
"""

import gc
from hashlib import sha256

from micropython import const

from . import forget_modules
from .errors import OTAError

_FAILED = const(12)

# What a number is multiplied by at a time: no product gets much longer than the key.
_PIECE_BITS = const(64)

_TRAILER_BYTES = const(4)
_MIN_BYTES = const(128)  # 1024 bits
_MAX_BYTES = const(512)  # 4096 bits

# RFC 8017, 9.2, note 1: the DigestInfo of SHA-256, but for the digest itself.
_DIGEST_INFO = const(
    b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
)


def check_signed(f, updater, read_back):
    """Read the whole signed image *f* of *updater* by *read_back* of verify.py, and verify it.

    A generator; its value is the SHA-256 of the file. Raises OTAError 12.
    """
    image_bytes, signature = read_trailer(f, updater.progress)
    f.seek(0)
    of_image = sha256()
    digest = yield from read_back(f, updater, image_bytes, of_image)
    updater.buffer = None  # the arithmetic needs the room more
    legacy = updater.ota.settings.get("legacy_signatures")
    yield from verify(of_image.digest(), signature, legacy)
    return digest


def read_trailer(f, size_bytes):
    """Return (size of the image proper, signature) of the signed image in the open file *f*.

    Raises OTAError 12 when the trailer is not there or lies about its length.
    """
    f.seek(max(0, size_bytes - _TRAILER_BYTES))
    length = int.from_bytes(f.read(_TRAILER_BYTES), "little")
    image_bytes = size_bytes - _TRAILER_BYTES - length
    if not _MIN_BYTES <= length <= _MAX_BYTES or image_bytes <= 0:
        raise OTAError(_FAILED, "not signed")
    f.seek(image_bytes)
    return image_bytes, f.read(length)


def verify(digest, signature, legacy):
    """Check that a key of this board made *signature* over *digest*; a generator of small steps.

    *digest* is the image's SHA-256, 32 bytes. *legacy* allows the form of Arduino cores up to
    2.5.2 as well. Raises OTAError 12.
    """
    size = len(signature)
    for n in _moduli(size):
        x = int.from_bytes(signature, "big")
        if x >= n:
            continue
        for _ in range(16):  # to the power of 65537
            x = _product(x, x, n, size * 8)
            yield
        block = _product(x, int.from_bytes(signature, "big"), n, size * 8).to_bytes(size, "big")
        if block == _padded(_DIGEST_INFO + digest, size) or (
            legacy and block == _padded(digest, size)
        ):
            return
    raise OTAError(_FAILED)


def _moduli(size):
    # The whole file is read, since it counts as broken wherever it is, whoever signed.
    from .keys import KEYS, read_keys

    moduli = [int.from_bytes(m, "big") for m in read_keys(KEYS) if len(m) == size]
    read_keys = None
    forget_modules("keys")
    return moduli


def _product(x, y, n, bits):
    # x * y modulo n, all of at most *bits* bits.
    mask = (1 << _PIECE_BITS) - 1
    product = 0
    for shift in range(bits // _PIECE_BITS * _PIECE_BITS, -1, -_PIECE_BITS):
        product = (product << _PIECE_BITS) % n
        product = (product + x * (y >> shift & mask)) % n
    gc.collect()  # or it would come to lie among garbage, and leave no long piece free
    return product


def _padded(data, length):
    # EMSA-PKCS1-v1_5 (RFC 8017, 9.2): 00 01 FF … FF 00 data.
    return b"\x00\x01" + b"\xff" * (length - 3 - len(data)) + b"\x00" + data
