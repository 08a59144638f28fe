"""What is checked of an image after its last byte. Part of the Updater."""

from binascii import hexlify, unhexlify
from hashlib import sha256

from micropython import const

from . import forget_modules
from .errors import OTAError
from .updater import STAGING, small_buffer

_READ_FAILED = const(3)
_MD5_FAILED = const(7)
_NO_DATA = const(13)
_DAMAGED = const(37)
_SHA256_FAILED = const(42)


def verify(updater):
    """Check *updater*'s staged image, read back from flash; return (Manifest, SHA-256).

    A generator that yields after every block. Raises OTAError.
    """
    if not updater.progress:
        raise OTAError(_NO_DATA)
    if updater.remaining:
        raise OTAError(_DAMAGED, "%d bytes missing" % updater.remaining)
    received = updater.sha256.digest()
    calculated = updater.md5 and hexlify(updater.md5.digest()).decode()
    updater.md5 = updater.sha256 = None
    forget_modules("md5", "md5_bytecode", "espota_transfer")
    from .keys import is_required

    signed = is_required()
    if updater.expected_sha256 and unhexlify(updater.expected_sha256) != received:
        raise OTAError(_SHA256_FAILED)
    if calculated and not signed and calculated != updater.expected_md5:  # a signature says more
        raise OTAError(
            _MD5_FAILED, "expected: %s, calculated: %s" % (updater.expected_md5, calculated)
        )
    is_required = None
    with open(STAGING, "rb") as f:
        digest = yield from (_check_signed if signed else _read_back)(f, updater)
        if digest != received:
            raise OTAError(_READ_FAILED)
        forget_modules("signature", "keys")
        f.seek(0)
        updater.buffer = None  # what reads the image needs the room more
        manifest = yield from _read(f, small_buffer())
    return manifest, digest


def _read_back(f, updater, image_bytes=0, of_image=None):
    # Returns the SHA-256 of the file *f*; *of_image* is fed its first *image_bytes* bytes.
    whole = sha256()
    while True:
        n = f.readinto(updater.buffer)
        if not n:
            return whole.digest()
        whole.update(updater.buffer[:n])
        if image_bytes > 0:
            of_image.update(updater.buffer[: min(n, image_bytes)])
            image_bytes -= n
        yield


def _check_signed(f, updater):
    from .signature import check_signed

    return (yield from check_signed(f, updater, _read_back))


def _read(f, buffer):
    from .image import read_image

    return (yield from read_image(f, buffer))
