"""The file that describes a download, so that an interrupted one continues where it stopped, even
after a power cut, and a complete one is not fetched again. Format: docs/SPEC.md.

RAM: about 500 bytes while loaded.
"""

import uos
import ustruct
from micropython import const
from uhashlib import sha256

from .. import log

_FOLDER = const("/.ota")
_PATH = const("/.ota/pull")
# The file has 128 bytes at most, since littlefs keeps so many without a sector of their own: to
# write it takes a millisecond, and not 45 more to erase one.
_LONGEST = const(128)
# magic, SHA-256 of the address and of the file's key (the beginnings), digest, size, position,
# sequence, failures; the validator and a check follow.
_FORMAT = const("<4s4s4s16sIIIB")
_HEAD = const(41)
_CHECK = const(8)
_MAGIC = const(b"MPL1")
# A validator has 79 bytes at most, which is what the others leave; see request.py.

# At least this many bytes of the image are programmed between two writes of the file.
STEP_BYTES = const(16384)


class Place:
    """How far the download of the file *key* from *url* has come; a note of another is ignored.

    *key* is "" where the address alone says which file it is.
    """

    validator = ""  # the file's ETag, or the date of its last change; "": it cannot be resumed
    size = 0  # of the file, in bytes
    position = 0  # up to where the idle slot has the image, a multiple of STEP_BYTES
    digest = bytes(16)  # of that: of the digest before the last STEP_BYTES, and of those bytes
    sequence = 0  # of the release in the file, where it is complete
    failures = 0  # in a row, of boots of the services alone

    def __init__(self, url, key=""):
        self._address = sha256(url.encode()).digest()[:4]
        self._file = sha256(key.encode()).digest()[:4]
        try:
            with open(_PATH, "rb") as f:
                data = f.read(_LONGEST + 1)
        except OSError:
            return
        body = data[:-_CHECK]
        if len(body) < _HEAD or sha256(body).digest()[:_CHECK] != data[-_CHECK:]:
            return
        magic, address, file, *facts, failures = ustruct.unpack(_FORMAT, body)
        if magic == _MAGIC and address == self._address:
            self.failures = failures
            if file == self._file:
                self.digest, self.size, self.position, self.sequence = facts
                self.validator = body[_HEAD:].decode()

    def checking(self, start, buffer):
        """Forget the position if the slot at *start* does not hold what was programmed.

        A generator; *buffer* is a memoryview of 1024 bytes to read into.
        """
        position, digest = self.position, self.digest
        self.begin(self.validator, self.size, self.sequence)
        while self.position < position:
            yield from self.advance(start, buffer)
        if self.digest != digest:
            log.info("pull: the slot holds something else by now: the download starts over")
            self.begin(self.validator, self.size, self.sequence)

    def advance(self, start, buffer):
        """Count the next STEP_BYTES in the slot at *start* as programmed; as `checking`."""
        from ..hal import flash_read

        chained = sha256(self.digest)
        start += self.position
        for at in range(start, start + STEP_BYTES, len(buffer)):
            flash_read(at, buffer)
            chained.update(buffer)
            yield True
        self.digest = chained.digest()[:16]
        self.position += STEP_BYTES

    def may_resume(self):
        """Return whether the validator guarantees that no byte of the file has changed."""
        return bool(self.validator) and self.validator[:2] != "W/"

    def begin(self, validator="", size=0, sequence=0):
        """Note that a file of *size* bytes is about to be fetched, or is the release *sequence*."""
        self.validator = validator
        self.size = size
        self.sequence = sequence
        self.position = 0
        self.digest = bytes(16)

    def store(self):
        """Write the file, if the flash takes it: no update fails for want of it."""
        body = ustruct.pack(
            _FORMAT,
            _MAGIC,
            self._address,
            self._file,
            self.digest,
            self.size,
            self.position,
            self.sequence,
            min(self.failures, 255),
        )
        body += self.validator.encode()
        try:
            uos.mkdir(_FOLDER)
        except OSError:
            pass  # it is there
        try:
            with open(_PATH, "wb") as f:
                f.write(body + sha256(body).digest()[:_CHECK])
        except OSError as e:
            log.error("pull: %s: %r", _PATH, e)
