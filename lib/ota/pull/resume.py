"""What is kept of a download, so that one that breaks goes on where it stopped, after a power cut
too; and of the last one that is complete, so that it is not fetched again. Format: docs/SPEC.md.

RAM: about 500 bytes while loaded.
"""

import uos
from micropython import const
from ubinascii import hexlify
from uhashlib import sha256

from .. import log

_FOLDER = const("/.ota")
_PATH = const("/.ota/pull")
_LONGEST = const(512)  # bytes of the file
_FIRST_LINE = const("mpota pull 1\n")
_LINES = const(8)

# So many bytes of the image are programmed between two writes of the file, at least.
STEP_BYTES = const(16384)


class Place:
    """How far the download from *url* has come; what another address has left counts as nothing."""

    validator = ""  # the file's ETag, or the date of its last change; "": it cannot be resumed
    size = 0  # of the file, in bytes
    position = 0  # up to where the idle slot has the image, a multiple of STEP_BYTES
    digest = ""  # of that: of the digest before the last STEP_BYTES, as hex, and of those bytes
    sequence = 0  # of the release in the file, where it is complete
    failures = 0  # in a row, of boots of the services alone

    def __init__(self, url):
        self._address = _digest(url.encode())
        try:
            with open(_PATH) as f:
                text = f.read(_LONGEST)
        except (OSError, UnicodeError):
            return
        lines = text[len(_FIRST_LINE) :].split("\n")
        end = text.rfind("\n", 0, -1) + 1  # before the check
        if (
            text[: len(_FIRST_LINE)] != _FIRST_LINE
            or text[end:-1] != _digest(text[:end].encode())
            or len(lines) != _LINES + 1
            or lines[0] != self._address
        ):
            return
        self.validator, self.digest = lines[1:3]
        self.size, self.position, self.sequence, self.failures = [int(n) for n in lines[3:7]]

    def checking(self, start, buffer):
        """Forget the position if the slot at *start* does not hold what was programmed.

        A generator; *buffer* is a memoryview of 1024 bytes to read into.
        """
        position, digest = self.position, self.digest
        self.position, self.digest = 0, ""
        while self.position < position:
            yield from self.advance(start, buffer)
        if self.digest != digest:
            log.info("pull: the slot holds something else by now: the download starts over")
            self.position, self.digest = 0, ""

    def advance(self, start, buffer):
        """Count the next STEP_BYTES in the slot at *start* as programmed; as `checking`."""
        from ..hal import flash_read

        chained = sha256(self.digest.encode())
        start += self.position
        for at in range(start, start + STEP_BYTES, len(buffer)):
            flash_read(at, buffer)
            chained.update(buffer)
            yield True
        self.digest = hexlify(chained.digest()[:16]).decode()
        self.position += STEP_BYTES

    def may_resume(self):
        """Return whether the validator says that not a byte of the file has changed."""
        return bool(self.validator) and self.validator[:2] != "W/"

    def begin(self, validator="", size=0, sequence=0):
        """Note that a file of *size* bytes is about to be fetched, or is the release *sequence*."""
        self.validator = validator
        self.size = size
        self.sequence = sequence
        self.position = 0
        self.digest = ""

    def store(self):
        """Write the file. Raises OSError when the flash does not take it."""
        text = _FIRST_LINE + "%s\n%s\n%s\n%d\n%d\n%d\n%d\n" % (
            self._address,
            self.validator,
            self.digest,
            self.size,
            self.position,
            self.sequence,
            self.failures,
        )
        try:
            uos.mkdir(_FOLDER)
        except OSError:
            pass  # it is there
        with open(_PATH, "w") as f:
            f.write(text + _digest(text.encode()) + "\n")


def _digest(data):
    return hexlify(sha256(data).digest()[:8]).decode()
