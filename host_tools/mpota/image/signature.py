"""RSA signatures over images and other files: made, and verified.

The usual signature is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2); the legacy one, of
Arduino cores up to 2.5.2, has the bare digest in the place of the DigestInfo.
"""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo

from mpota.image import trailer

_DIGEST_SIZE = 32  # bytes


def sign(image: bytes, private_key: RSAPrivateKey, legacy: bool = False) -> bytes:
    """Return the image with its trailer; the same key and image always give the same bytes.

    It signs as `openssl dgst -sha256 -sign` does; with `legacy`, as `openssl rsautl -sign` does
    over the digest.
    """
    return trailer.append(image, private_key.sign(*_signed(image, legacy)))


def verify(image: bytes, signature: bytes, public_key: RSAPublicKey, legacy: bool = False) -> bool:
    """Tell whether `signature` was made with this key, in this form, over this image."""
    try:
        content, padding, algorithm = _signed(image, legacy)
        public_key.verify(signature, content, padding, algorithm)  # type: ignore[arg-type]
    except InvalidSignature:
        return False
    return True


def signs_another_image(signature: bytes, public_key: RSAPublicKey) -> bool:
    """Tell whether `signature` was made with this key, over any image: for the error message."""
    for algorithm in (hashes.SHA256(), NoDigestInfo()):  # the usual form, the legacy one
        try:
            signed = public_key.recover_data_from_signature(signature, PKCS1v15(), algorithm)
        except InvalidSignature:
            continue
        if len(signed) == _DIGEST_SIZE:
            return True
    return False


def _signed(
    image: bytes, legacy: bool
) -> tuple[bytes, PKCS1v15, hashes.HashAlgorithm | NoDigestInfo]:
    """Return the arguments for the library: the bytes that are signed, the padding, the hash."""
    if legacy:
        return hashlib.sha256(image).digest(), PKCS1v15(), NoDigestInfo()
    return image, PKCS1v15(), hashes.SHA256()
