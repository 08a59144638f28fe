"""The one way to flash: every transport feeds an Updater, which decides alone what is taken.

What is checked of an image is in verify.py, signatures and keys are in signature.py, a gzip is
unpacked in inflate.py. RAM: about 4 KB while they are loaded, and 2,484 bytes more in one piece
while an update runs; 3,000 where the board has keys, 5,200 where one has more than 2048 bits.
"""

import gc

from micropython import const
from ustruct import calcsize

from .. import hal, log, record, slots
from ..clock import after, is_past
from ..errors import OTAError

_KEYS = const("/ota.keys")
_ENOSPC = const(28)

# One TCP segment: what a transport receives into. Behind it in the block, at a multiple of 4, lie
# the pages that are gathered: some flash chips lose bits when a page is programmed in pieces.
_CHUNK_BYTES = const(1460)
_PAGE_BYTES = const(256)
_PAGES_BYTES = const(4 * _PAGE_BYTES)
_SECTOR_BYTES = const(4096)
_BLOCK_BYTES = const(_CHUNK_BYTES + _PAGES_BYTES)
# The arithmetic of a signature gets the place of the block: so much for keys of up to 2048 bits,
# and for longer ones.
_SIGNED_BLOCK_BYTES = const(3000)
_LONG_BLOCK_BYTES = const(5200)
_LONG_KEY_BYTES = const(257)
# What must be free beside all that an update reserves: one piece, which holds a MANIFEST, and small
# ones, in machine words (of 4 bytes on the chip), since objects are made of them.
_SLACK_PIECE_BYTES = const(768)
_SLACK_WORDS = const(375)

_STREAM_TIMEOUT_MS = const(6000)

_TOO_LARGE = const(
    "image of %d bytes, a slot takes %d: put larger things into /data, "
    "and flash firmware over serial"
)

_GZIP = const(0x1F)  # how a gzip begins, and no image does

_U_FLASH = const(0)
_U_FS = const(100)
# Data for an application that is still to come: they are not tried before it names them.
_U_FS_TIED = const(101)

_WRITE_FAILED = const(1)
_ERASE_FAILED = const(2)
_READ_FAILED = const(3)
_NO_SPACE = const(4)
_BAD_SIZE = const(5)
_STREAM_TIMEOUT = const(6)
_MD5_FAILED = const(7)
_NO_DATA = const(13)
_NO_MEMORY = const(14)
_RUNNING = const(15)
_UNKNOWN_COMMAND = const(16)
_VETOED = const(32)
_NOT_NOW = const(33)
_ON_TRIAL = const(34)
_DAMAGED = const(37)
_SHA256_FAILED = const(42)


class Updater:
    """One update: `begin`, `write` as often as needed, `end`; any error discards all of it.

    *ota* is the program's OTA. Its callbacks are told of the update, and those of the service that
    *callbacks* belong to, if it is given. A service calls `on_end` and `on_error` itself, with the
    codes of its own; without one, `on_error` gets the number of the error, and an update to which
    nothing is written for 60 s is discarded. Every method raises OTAError.
    """

    buffer = None  # memoryview of one chunk, for a transport to receive into while an update runs
    # The keys of which one must have signed the image: the content of a key file, as bytes. None:
    # those of /ota.keys, if it is there.
    keys = None

    # For verify.py: what is expected, in hex digits, or None; the MD5 so far, where it is needed; a
    # memoryview of the pages that are gathered; the module `signature` and the keys that count,
    # where an image must be signed; the name of the only application that is taken, if not any;
    # what unpacks a gzip. From `begin` on there are `slot`, the slot that the image goes into,
    # `stored`, how many bytes are in it, and `filled`, how many are in the pages.
    expected_md5 = expected_sha256 = md5_state = pages = signature = trusted = app = unpacker = None
    # For the package `data`: the file that an image of data goes into; its `app` is True where an
    # application is to come that names it.
    file = None

    def __init__(self, ota, callbacks=None):
        self.ota = ota
        self.callbacks = callbacks
        self.is_running = False  # whether an update has begun and not ended
        self.has_started = False  # whether the application was asked by its on_start
        self.error = 0  # number of the last error; str(OTAError(number)) is its text
        self.progress = 0  # received, in bytes
        self.remaining = 0  # announced and still to come, in bytes

    def set_md5(self, digest):
        """Expect the MD5 *digest*, 32 hex digits, of all that will be written.

        It is not compared where a SHA-256 or a signature says more. To be called before `begin`, or
        after it as Arduino programs do.
        """
        self.expected_md5 = _hex_digits(digest, 32, _MD5_FAILED)
        if self.is_running:
            try:
                self._reserve_md5()
            except Exception as e:
                self.fail(e, _MD5_FAILED)

    def set_sha256(self, digest):
        """Expect the SHA-256 *digest*, 64 hex digits, as `set_md5` does."""
        self.expected_sha256 = _hex_digits(digest, 64, _SHA256_FAILED)

    def begin(self, size, command=_U_FLASH, resume_at=0):
        """Begin an update of *size* bytes.

        Policy is asked first, then all is reserved that the update needs to its very end, then the
        application is asked. With *resume_at*, a multiple of 4096, the idle slot has so many bytes
        of the image already, from an update that was broken off, and only the rest is to be
        written.
        """
        if self.ota.updater:
            raise OTAError(_RUNNING)  # The update that is running goes on.
        self.ota.updater = self
        self.error = self.filled = 0
        self.has_started = False
        self.ota.fed_at = None
        self.progress = self.stored = resume_at
        self.remaining = size - resume_at
        self.is_running = True
        try:
            boot_record = self._admit(size, command)
            self.slot = boot_record.idle if command == _U_FLASH else None
            self._reserve(boot_record)
            if self.slot is None:
                self.app = command == _U_FS_TIED
                self._checks.begin(self, boot_record)
            if resume_at:
                self._admit_rest(resume_at)
            self.has_started = True
            try:
                self.ota.call("start", self.callbacks)
            except Exception as e:
                raise OTAError(_VETOED, str(e)[:40])
            if boot_record.trial:  # a verified update that waits for a restart: its slot is needed
                boot_record.end_trial("replaced by another update before it was tried")
            if boot_record.data:
                from ..exchange import settle

                settle(boot_record)
            if resume_at:
                slots.erase_marks(self.slot)
        except Exception as e:
            self.fail(e, _WRITE_FAILED)
        log.info("update: %d bytes announced", size)

    def write(self, data):
        """Append *data*, bytes or a memoryview, to what has come; return its length.

        Raises OTAError: 4 for more than was announced, of which nothing is taken.
        """
        for _ in self.writing(data):
            pass
        return len(data)

    def writing(self, data):
        """Do what `write` does, in steps: iterate over what is returned, to its end.

        A plain image is written when this returns, a gzip is unpacked by those steps.
        """
        n = len(data)
        self.ota.fed_at = None
        try:
            if not self.is_running:
                raise OTAError(self.error or _NO_DATA)
            if n > self.remaining:
                raise OTAError(_NO_SPACE, "more than announced")
            if n and not self.progress and data[0] == _GZIP:
                gc.collect()
                self.unpacker = True  # so that `fail` tells what too little memory was for
                from .inflate import Unpacker

                self.unpacker = Unpacker(self)
            if self.unpacker:
                return self.unpacker.taking(data)
            self.gather(data)
        except Exception as e:
            self.fail(e, _WRITE_FAILED)
        self.progress += n
        self.remaining -= n
        self.ota.call("progress", self.callbacks, self.progress, self.progress + self.remaining)
        return ()

    def write_stream(self, stream):
        """Append what *stream* gives, anything with `readinto`, up to the announced size.

        Return how many bytes that were. Raises OTAError 6 after 6 s without data.
        """
        before = self.progress
        for _ in self.writing_stream(stream):
            pass
        return self.progress - before

    def writing_stream(self, stream):
        """Do what `write_stream` does, as a generator that yields after every piece."""
        deadline = after(_STREAM_TIMEOUT_MS)
        try:
            if not self.is_running:
                raise OTAError(self.error or _NO_DATA)
            while self.is_running and self.remaining:
                n = stream.readinto(self.buffer[: min(len(self.buffer), self.remaining)])
                if n:
                    yield from self.writing(self.buffer[:n])
                    deadline = after(_STREAM_TIMEOUT_MS)
                elif n is not None:
                    return  # the stream is at its end
                elif is_past(deadline):
                    raise OTAError(_STREAM_TIMEOUT)
                yield
        except Exception as e:
            self.fail(e, _STREAM_TIMEOUT)

    @property
    def programmed(self):
        """How many bytes of what was received are in the slot as they came; of a gzip none."""
        return 0 if self.unpacker else self.stored

    @property
    def is_finished(self):
        """Whether every announced byte is written."""
        return self.is_running and not self.remaining

    def end(self, even_if_remaining=False):
        """Verify what was written and set it on trial from the next boot on, all in one go."""
        for _ in self.ending(even_if_remaining):
            pass

    def ending(self, even_if_remaining=False):
        """Do what `end` does, as a generator that yields after every block.

        With *even_if_remaining*, the size becomes what was received.
        """
        self.ota.fed_at = None
        try:
            if not self.is_running:
                raise OTAError(self.error or _NO_DATA)
            if not self.progress:
                raise OTAError(_NO_DATA)
            if self.remaining and not even_if_remaining:
                raise OTAError(_DAMAGED, "%d bytes missing" % self.remaining)
            self.remaining = 0
            if self.unpacker:
                yield from self.unpacker.ending()
            if self.filled:
                self.flush()
            yield from self._checks.verify(self)
        except Exception as e:
            self.fail(e, _READ_FAILED)
        self.ota.has_staged_data = self.app is True
        self._release()
        if self.callbacks is None:  # no service tells the application
            self.ota.call("end", None)

    def abort(self, code):
        """Discard the update, for a reason of the transport's; harmless when none runs."""
        if self.is_running:
            self.error = code
            self._release()
            if self.callbacks is None and self.has_started:
                self.ota.call("error", None, code)

    def fail(self, e, code):
        """Discard the update; raise *e* as an OTAError, an error of the hardware as *code*."""
        if isinstance(e, MemoryError):
            gc.collect()
            text = "a gzip needs more: send it unpacked" if self.unpacker else ""
            e = OTAError(_NO_MEMORY, text)
        elif not isinstance(e, OTAError):
            if isinstance(e, OSError) and e.errno == _ENOSPC:
                code = _NO_SPACE
            e = OTAError(code, str(e))
        self.abort(e.code)
        self.error = e.code
        raise e

    def _release(self):
        self.is_running = False
        self.ota.updater = None
        self.buffer = self.pages = self.expected_md5 = self.expected_sha256 = self.md5_state = None
        self.signature = self.trusted = self.unpacker = None
        file, self.file = self.file, None
        if file:  # of data that are not taken
            self.ota.healthy = False  # what is left of them is removed when it is healthy again
            try:
                file.close()
            except OSError as e:  # it writes what it holds, which is not needed
                log.error("update: %r", e)

    # Before the first byte

    def _admit(self, size, command):
        # Asks policy; returns the boot record.
        if command not in (_U_FLASH, _U_FS, _U_FS_TIED):
            raise OTAError(_UNKNOWN_COMMAND)
        if size <= 0:
            raise OTAError(_BAD_SIZE)
        if command == _U_FLASH and size > slots.IMAGE_LIMIT_BYTES:
            raise OTAError(_NO_SPACE, _TOO_LARGE % (size, slots.IMAGE_LIMIT_BYTES))
        if self.ota.trial:
            raise OTAError(_ON_TRIAL)
        if not self.ota.allows_updates():
            raise OTAError(_NOT_NOW)
        boot_record = record.load_for_update()
        if command == _U_FS and boot_record.active is None:
            raise OTAError(_NOT_NOW, "no application tries the data: send one")
        return boot_record

    def _reserve(self, boot_record):
        # Everything that the update needs, of every phase, is loaded or held from here on, so that
        # a full heap ends it now and not at its end.
        self.trusted = self.keys
        if self.keys is None and hal.has_keys():
            self.trusted = _KEYS
        size = _BLOCK_BYTES
        if self.trusted is not None:
            from . import signature

            self.signature = signature
            is_long = signature.longest_key_bytes(self.trusted) >= _LONG_KEY_BYTES
            size = _LONG_BLOCK_BYTES if is_long else _SIGNED_BLOCK_BYTES
        gc.collect()
        # The block comes before what else is loaded, which finds room in smaller pieces as well.
        block = memoryview(bytearray(size))
        if self.slot is None:
            try:
                from .. import data as checks
            except (AttributeError, ImportError):  # a copy of this package may lack it
                raise OTAError(_UNKNOWN_COMMAND, "no data")
        else:
            from . import verify as checks

            self.app = self.ota.settings.get("app") or checks.app_of(boot_record.active)
        self._checks = checks
        self.buffer = block[:_CHUNK_BYTES]
        self.pages = block[_CHUNK_BYTES : _CHUNK_BYTES + _PAGES_BYTES]
        self._reserve_md5()
        slack = bytearray(_SLACK_PIECE_BYTES)
        gc.collect()
        if gc.mem_free() < _SLACK_WORDS * calcsize("P"):
            raise MemoryError
        del slack

    def _reserve_md5(self):
        if self.expected_md5 and not self.expected_sha256 and self.trusted is None:
            from ..md5 import md5

            self.md5_state = md5()

    def _admit_rest(self, resume_at):
        # Looks at the beginning of an image that is in flash, as `flush` does at one that arrives.
        if resume_at & (_SECTOR_BYTES - 1) or self.remaining <= 0:
            raise OTAError(_BAD_SIZE)
        head = self.pages[: slots.HEAD_BYTES]
        hal.flash_read(slots.start(self.slot), head)
        self._checks.refuse_by_head(head, self)

    # While bytes arrive

    def gather(self, data):
        """Append *data* to the image in the slot: `inflate` and `delta` call it, too."""
        at = 0
        while at < len(data):
            count = min(len(data) - at, _PAGES_BYTES - self.filled)
            self.pages[self.filled : self.filled + count] = data[at : at + count]
            self.filled += count
            at += count
            if self.filled == _PAGES_BYTES:
                self.flush()

    def read_stored(self, at, view):
        """Read *view* of what is stored, from its byte *at* on, a multiple of 4; for inflate.py."""
        if self.slot is None:
            self._checks.read_stored(self, at, view)
        else:
            hal.flash_read(slots.start(self.slot) + at, view)

    def flush(self):
        """Program the pages that are gathered."""
        first = self.stored
        if self.slot is None:
            self._checks.append(self)
            self.stored += self.filled
            self.filled = 0
            return
        if first + self.filled > slots.IMAGE_LIMIT_BYTES:
            size = first + self.filled  # at least: it is unpacked
            raise OTAError(_NO_SPACE, _TOO_LARGE % (size, slots.IMAGE_LIMIT_BYTES))
        if first == 0:
            # Before the first erase, so that a wrong file does not cost the version in that slot.
            self._checks.refuse_by_head(self.pages[: self.filled], self)
            slots.spoil_accepted(self.slot)
        end = first + self.filled + _PAGE_BYTES - 1 & ~(_PAGE_BYTES - 1)
        for i in range(self.filled, end - first):
            self.pages[i] = 0xFF
        start = slots.start(self.slot)
        sector_at = first + _SECTOR_BYTES - 1 & ~(_SECTOR_BYTES - 1)
        try:
            if first == 0:
                slots.erase_marks(self.slot)
            for at in range(sector_at, end, _SECTOR_BYTES):
                if at < slots.MARKS_SECTOR_AT:  # that sector was erased before all others
                    hal.flash_erase((start + at) // _SECTOR_BYTES)
        except OSError as e:
            raise OTAError(_ERASE_FAILED, str(e))
        hal.flash_write(start + first, self.pages[: end - first])
        self.stored += self.filled
        self.filled = 0


def _hex_digits(digest, count, code):
    digest = digest.lower()
    if len(digest) != count:
        raise OTAError(code, "not %d digits" % count)
    for c in digest.encode():  # as bytes: each character of a text would become a name
        if c not in b"0123456789abcdef":
            raise OTAError(code, "not hex digits")
    return digest
