"""The digests and the signature of what an Updater has stored, an application or data. Part of the
Updater; RAM: about 0.4 KB while loaded.
"""

import gc

from micropython import const
from ubinascii import hexlify, unhexlify
from uhashlib import sha256

from ..errors import OTAError

# A signature, of 1024 to 4096 bits, and its length.
_MIN_KEY_BYTES = const(128)
_MAX_KEY_BYTES = const(512)
_LENGTH_BYTES = const(4)
_MAX_TRAILER_BYTES = const(_MAX_KEY_BYTES + _LENGTH_BYTES)

_MD5_FAILED = const(7)
_NOT_SIGNED = const(12)
_DAMAGED = const(37)
_SHA256_FAILED = const(42)


def compare(updater, content_bytes, signed_bytes):
    """Read back what *updater* has stored, and compare its digests with those that are expected.

    A generator that yields after every block. Its value is the SHA-256 of the first *content_bytes*
    and of the first *signed_bytes*, None where those are 0. What a gzip was when it was received
    has been hashed already. Raises OTAError 42 or 7.
    """
    size = updater.stored
    pages = updater.pages
    unpacker = updater.unpacker
    whole = sha256() if updater.expected_sha256 and not unpacker else None
    md5_state = updater.md5_state
    content = sha256()
    signed = sha256() if signed_bytes else None
    for at in range(0, size, len(pages)):
        count = min(len(pages), size - at)
        part = pages[: count + 3 & ~3]
        updater.read_stored(at, part)
        part = part[:count]
        if whole:
            whole.update(part)
        elif md5_state and not unpacker:
            md5_state.update(part)
        if at < content_bytes:
            content.update(part[: content_bytes - at])
        if signed and at < signed_bytes:
            signed.update(part[: signed_bytes - at])
        yield
    if unpacker:
        whole = unpacker.whole
    if whole and whole.digest() != unhexlify(updater.expected_sha256):
        raise OTAError(_SHA256_FAILED, "on the way" if unpacker else "read back from flash")
    if md5_state and not whole:
        updater.md5_state = None
        found = hexlify(md5_state.digest()).decode()
        if found != updater.expected_md5:
            raise OTAError(
                _MD5_FAILED, "expected: %s, calculated: %s" % (updater.expected_md5, found)
            )
    return content.digest(), signed and signed.digest()


def trailer_bytes(trailer, size):
    """Return how long the signature and its length are which *trailer*, of *size* bytes, ends with.

    0: it ends with none.
    """
    length = int.from_bytes(trailer[max(0, size - _LENGTH_BYTES) : size], "little")
    if _MIN_KEY_BYTES <= length <= _MAX_KEY_BYTES:
        return length + _LENGTH_BYTES
    return 0


def check_signature(updater, end, digest):
    """Check the signature behind byte *end* of what is stored, over what has the SHA-256 *digest*.

    Where a gzip was signed as it was sent, that signature counts. The block is given up, whose only
    owner *updater* is. Raises OTAError 37 where something else is there, and 12.
    """
    size = updater.stored - end
    trailer = updater.pages[: min(size, _MAX_TRAILER_BYTES) + 3 & ~3]
    updater.read_stored(end, trailer)
    is_good = trailer_bytes(trailer, size) == size
    unpacker = updater.unpacker
    if unpacker and unpacker.trailer and (is_good or not size):
        trailer = unpacker.trailer
        size = len(trailer)
        is_good = trailer_bytes(trailer, size) == size
        digest = unpacker.signed and unpacker.signed.digest()
    if updater.signature and not (is_good and size):
        raise OTAError(_NOT_SIGNED, "not signed")
    if size and not is_good:
        raise OTAError(_DAMAGED, "%d bytes behind its end are no signature" % size)
    made = bytes(trailer[: size - _LENGTH_BYTES]) if size else b""
    updater.unpacker = unpacker = None
    updater.buffer = updater.pages = trailer = None
    gc.collect()
    if updater.signature:
        # The arithmetic gets the place of the block.
        legacy = updater.ota.settings.get("legacy_signatures")
        updater.signature.verify(digest, made, legacy, updater.trusted)
