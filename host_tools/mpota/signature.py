"""An image's signature: IMAGE, RSA signature over it, u32 little-endian length of the signature.

That trailer, and its legacy form, are what Arduino's signing.py writes for the ESP8266. The usual
signature is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2); the legacy one, of cores up to
2.5.2, has the bare digest in the place of the DigestInfo.
"""

import hashlib
import struct

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from mpota.keys import (
    EXPONENT,
    LONGEST_BITS,
    SHORTEST_BITS,
    binary_keys,
    load_private_key,
    load_public_key,
)

__all__ = [
    "binary_keys",
    "load_private_key",
    "load_public_key",
    "sign",
    "signs_another_image",
    "split",
    "trailer_length",
    "verify",
]

_LENGTH = struct.Struct("<I")
# RFC 8017, section 9.2, note 1: DigestInfo for SHA-256, up to the digest itself.
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_DIGEST_SIZE = 32  # bytes
# Of a signature, which is as long as its key's modulus.
_SHORTEST, _LONGEST = SHORTEST_BITS // 8, LONGEST_BITS // 8  # bytes


def sign(image: bytes, private_key: RSAPrivateKey, legacy: bool = False) -> bytes:
    """Give the image with its trailer; the same key and image always give the same bytes.

    What `openssl dgst -sha256 -sign` signs, or for `legacy` `openssl rsautl -sign` over the digest.
    """
    # By the key's numbers, since the cryptography package signs a bare digest from version 47 on
    # only. This is not done in constant time, which matters where strangers can have things signed.
    numbers = private_key.private_numbers()
    modulus = numbers.public_numbers.n
    block = int.from_bytes(_block(hashlib.sha256(image).digest(), _size(modulus), legacy))
    signature = pow(block, numbers.d, modulus).to_bytes(_size(modulus))
    return image + signature + _LENGTH.pack(len(signature))


def split(data: bytes) -> tuple[bytes, bytes | None]:
    """Take a file apart into image and signature; None where the end is no trailer."""
    length = trailer_length(data)
    if not _SHORTEST <= length <= _LONGEST or length + _LENGTH.size > len(data):
        return data, None
    end = len(data) - _LENGTH.size
    return data[: end - length], data[end - length : end]


def trailer_length(data: bytes) -> int:
    """Give what a trailer's last four bytes say of the signature's length, true or not."""
    return _LENGTH.unpack(data[-_LENGTH.size :])[0] if len(data) >= _LENGTH.size else 0


def verify(image: bytes, signature: bytes, public_key: RSAPublicKey, legacy: bool = False) -> bool:
    """Tell whether `signature` is this key's, in this form, over this image.

    The whole block is built and compared, nothing of it is parsed.
    """
    digest = hashlib.sha256(image).digest()
    opened = _opened(signature, public_key)
    return opened is not None and opened == _block(digest, len(opened), legacy)


def signs_another_image(signature: bytes, public_key: RSAPublicKey) -> bool:
    """Tell whether `signature` is this key's, whatever the image is: for a good error message."""
    opened = _opened(signature, public_key)
    if opened is None:
        return False
    blocks = (_block(opened[-_DIGEST_SIZE:], len(opened), legacy) for legacy in (False, True))
    return opened in blocks


def _opened(signature: bytes, public_key: RSAPublicKey) -> bytes | None:
    """Undo the private-key operation: the signed block, or None for what is no signature."""
    numbers = public_key.public_numbers()
    number, size = int.from_bytes(signature), _size(numbers.n)
    if numbers.e != EXPONENT or len(signature) != size or number >= numbers.n:
        return None
    return pow(number, numbers.e, numbers.n).to_bytes(size)


def _block(digest: bytes, size: int, legacy: bool) -> bytes:
    """Pad to `size` bytes as RFC 8017, section 9.2 (EMSA-PKCS1-v1_5) does: block type 01."""
    content = digest if legacy else _SHA256_INFO + digest
    return b"\0\1".ljust(size - len(content) - 1, b"\xff") + b"\0" + content


def _size(modulus: int) -> int:
    return (modulus.bit_length() + 7) // 8
