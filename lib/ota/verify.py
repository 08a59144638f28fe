"""What is checked of an image after its last byte. Part of the Updater."""

from binascii import hexlify
from hashlib import sha256

from micropython import const

from . import forget_modules
from .errors import OTAError
from .updater import STAGING

_READ_FAILED = const(3)
_MD5_FAILED = const(7)
_NO_DATA = const(13)
_DAMAGED = const(37)


def verify_and_stage(updater):
    """Check *updater*'s staged image, read back from flash, and name it in the boot record.

    A generator that yields after every block. Raises OTAError with the record unchanged.
    """
    if not updater.progress:
        raise OTAError(_NO_DATA)
    if updater.remaining:
        raise OTAError(_DAMAGED, "%d bytes missing" % updater.remaining)
    if updater.md5:
        calculated = hexlify(updater.md5.digest()).decode()
        if calculated != updater.expected_md5:
            raise OTAError(
                _MD5_FAILED, "expected: %s, calculated: %s" % (updater.expected_md5, calculated)
            )
    received = updater.sha256.digest()
    updater.md5 = updater.sha256 = None
    forget_modules("md5", "md5_bytecode", "espota_auth", "espota_transfer")
    digest = sha256()
    left = updater.progress
    with open(STAGING, "rb") as f:
        while left > 0:
            n = f.readinto(updater.buffer)
            if not n:
                break
            digest.update(updater.buffer[:n])
            left -= n
            yield
        digest = digest.digest()
        if left or digest != received:
            raise OTAError(_READ_FAILED)
        f.seek(0)
        manifest = yield from _read(f, updater.buffer)
    forget_modules("image", "manifest")
    from .stage import stage

    stage(manifest, updater.progress, digest)


def _read(f, buffer):
    # Returns only what the manifest says, so that the modules that read it can be forgotten.
    from .image import read_image

    m = yield from read_image(f, buffer)
    return m.name, m.version, m.sequence, m.board, m.mpy, m.total_bytes + 4096 * m.files
