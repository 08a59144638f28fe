"""The one way to flash: every transport feeds an Updater. Its policy is in admission.py, before the
first byte, and after the last in verify.py and stage.py.
"""

import gc
import os
from hashlib import sha256

from micropython import const

from . import forget_modules, log
from .errors import OTAError

# Where an image is kept until the next boot unpacks it.
STAGING = "/.ota/staging"

# One TCP segment: what a transport receives into, and what goes to flash at once.
_CHUNK_BYTES = const(1460)
_SMALL_CHUNK_BYTES = const(512)

# First bytes that the command U_FLASH allows: the "M" of MANIFEST.
_MAGIC = const(b"M")

_WRITE_FAILED = const(1)
_READ_FAILED = const(3)
_NO_SPACE = const(4)
_MD5_FAILED = const(7)
_MAGIC_BYTE = const(10)
_NO_DATA = const(13)
_NO_MEMORY = const(14)
_RUNNING = const(15)


# The Updater whose update is going on, or None.
running = None


class Updater:
    """One update: `begin`, `write` as often as needed, `end`; any error discards all of it.

    *ota* is asked whether updates are allowed now; its callbacks, and those of the service that
    *callbacks* belong to, are told of the update. Every method raises OTAError.
    """

    is_running = False  # whether an update has begun and not ended
    error = 0  # number of the last error
    progress = 0  # written, in bytes
    remaining = 0  # announced and still to come, in bytes
    buffer = None  # memoryview of one chunk, for a transport to receive into while an update runs
    expected_md5 = ""
    expected_sha256 = ""  # in hex; "": none is announced
    md5 = None
    sha256 = None
    file = None

    def __init__(self, ota, callbacks):
        self.ota = ota
        self._callbacks = callbacks

    @property
    def is_finished(self):
        """Whether every announced byte is written."""
        return self.is_running and not self.remaining

    def begin(self, size, command=0):
        """Begin an update of *size* bytes: ask policy, then the application, then make room."""
        global running
        if running:
            raise OTAError(_RUNNING)  # which does the running one no harm
        self.error = self.progress = 0
        self.expected_sha256 = ""
        self.remaining = size
        try:
            # The longest piece first, while the heap is still whole.
            self.buffer = _new_buffer()
            from .admission import admit

            admit(self, size, command)
            self.sha256 = sha256()
            self.file = open(STAGING, "wb")
        except Exception as e:
            self.fail(e, _WRITE_FAILED)
        self.is_running = True
        running = self
        log.info("update: %d bytes announced", size)

    def set_md5(self, digest):
        """Expect the MD5 *digest*, 32 hex digits as a str, over all that will be written."""
        try:
            if len(digest) != 32:
                raise OTAError(_MD5_FAILED, "not 32 digits")
            from .md5 import md5

            self.md5 = md5()
        except Exception as e:
            self.fail(e, _READ_FAILED)
        self.expected_md5 = digest.lower()

    def write(self, data):
        """Append *data* to the staged image; return its length. Raises OTAError: 4 for too much."""
        n = len(data)
        try:
            if not self.is_running:
                raise OTAError(self.error or _NO_DATA)
            if n > self.remaining:
                raise OTAError(_NO_SPACE, "more than announced")
            if not self.progress and n and data[0] not in _MAGIC:
                raise OTAError(_MAGIC_BYTE)
            if self.md5:
                self.md5.update(data)
            self.sha256.update(data)
            if self.file.write(data) != n:
                raise OTAError(_WRITE_FAILED)
        except Exception as e:
            self.fail(e, _WRITE_FAILED)
        self.progress += n
        self.remaining -= n
        self.call("progress", self.progress, self.progress + self.remaining)
        return n

    def end(self, even_if_remaining=False):
        """Verify what was written and stage it for the next boot, all in one go."""
        for _ in self.ending(even_if_remaining):
            pass

    def ending(self, even_if_remaining=False):
        """Do what `end` does, as a generator that yields after every block.

        With *even_if_remaining*, the size becomes what was received.
        """
        global running
        try:
            if not self.is_running:
                raise OTAError(self.error or _NO_DATA)
            if even_if_remaining:
                self.remaining = 0
            self.file.close()
            from .verify import verify

            manifest, digest = yield from verify(self)
            verify = None  # what stage.py needs takes its place
            forget_modules("verify", "image", "manifest")
            from .stage import stage

            stage(manifest, self.progress, digest, self.ota.settings)
        except Exception as e:
            self.fail(e, _READ_FAILED)
        self.is_running = False
        running = self.buffer = None

    def abort(self, code):
        """Discard the update, for a reason of the transport's; harmless when none runs."""
        global running
        if self.is_running:
            self.error = code
            self.is_running = False
            running = self.buffer = self.md5 = self.sha256 = None
            try:
                self.file.close()
                os.remove(STAGING)
            except OSError:
                pass  # a full or failing flash: the next update removes it first

    def call(self, event, *args):
        """Call what is registered for *event* ("start", "end", "progress", "error").

        Only what `on_start` raises reaches the caller: it refuses the update.
        """
        for callbacks in (self.ota, self._callbacks):
            function = getattr(callbacks, event + "_callback")
            if function:
                try:
                    function(*args)
                except Exception as e:
                    if event == "start":
                        raise
                    log.error("on_%s raised %r; the update goes on", event, e)

    def fail(self, e, code):
        """Discard the update; raise *e* as an OTAError, an error of the hardware as *code*."""
        if isinstance(e, MemoryError):
            e = OTAError(_NO_MEMORY)
        elif not isinstance(e, OTAError):
            e = OTAError(code, str(e))
        self.abort(e.code)
        self.error = e.code
        self.buffer = None
        raise e


def _new_buffer():
    gc.collect()
    try:
        return memoryview(bytearray(_CHUNK_BYTES))
    except MemoryError:  # slower is better than not at all
        return small_buffer()


def small_buffer():
    """Return a memoryview of a tar's block, which is the least that an image can be read by."""
    return memoryview(bytearray(_SMALL_CHUNK_BYTES))
