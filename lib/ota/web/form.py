"""Read the form of the update page, which holds the image: multipart/form-data (RFC 7578). Loaded
when a form is posted. Protocol: docs/SPEC.md.

RAM: about 0.8 KB while loaded.
"""

import uos
from micropython import const
from uctypes import addressof, bytearray_at

from ..errors import OTAError
from ..slots import IMAGE_LIMIT_BYTES
from .parameter import parameter

# The most bytes that may follow the image in a form; browsers send less.
_FORM_BYTES = const(2048)
_LONGEST_BOUNDARY = const(70)  # RFC 2046, 5.1.1

_U_FLASH = const(0)
_U_FS = const(100)

_NO_DATA = const(13)
_RUNNING = const(15)
_DAMAGED = const(37)


def is_too_large(size):
    """Return whether a form of *size* bytes is too large for any image, or for data."""
    _, block_bytes, _, blocks = uos.statvfs("/")[:4]
    return size > max(IMAGE_LIMIT_BYTES, blocks * block_bytes) + _FORM_BYTES


class Form:
    """The form in the body of the request on *connection*, of the content type *kind*.

    Its methods that read are generators, which yield whether something has come. They raise
    OTAError 37 if the form is cut off.
    """

    def __init__(self, connection, kind):
        boundary = parameter(kind, b"boundary")
        if not boundary or len(boundary) > _LONGEST_BOUNDARY:
            raise OTAError(_NO_DATA, "the form has no boundary")
        self._connection = connection
        self._delimiter = b"\r\n--" + boundary
        self._use(connection.buffer, connection.filled)

    def find(self):
        """Go to the image; return its update command, or None if no file was chosen."""
        first = self._delimiter[2:]
        yield from self._fill(len(first))
        if self._view[: len(first)] == first:
            self._drop(len(first))
        else:
            yield from self._pass(None)  # the bytes before the first part
        while True:
            command = yield from self._enter()
            if command is not None or self._is_at_end:
                return command
            yield from self._pass(None)

    def image_bytes(self, command):
        """Return the largest possible size of the image for *command*; 0 if it is empty."""
        size = self._filled + self._connection.left
        if size <= len(self._delimiter) + 4:  # "--\r\n"
            return 0
        if command == _U_FS or size > IMAGE_LIMIT_BYTES + _FORM_BYTES:
            return size
        return min(size, IMAGE_LIMIT_BYTES)

    def receive(self, updater):
        """Write the image to *updater*, and go to the end of the form."""
        filled = self._filled
        updater.buffer[:filled] = self._view[:filled]
        # The same memory as a bytearray, which has `find`.
        self._use(bytearray_at(addressof(updater.buffer), len(updater.buffer)), filled)
        yield from self._pass(updater.writing)
        while True:
            command = yield from self._enter()
            if command is not None:
                raise OTAError(_RUNNING, "one file at a time")
            if self._is_at_end:
                return
            yield from self._pass(None)

    def _use(self, buffer, filled):
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._filled = filled
        self._is_at_end = False

    def _drop(self, count):
        # Takes *count* bytes from the front of the buffer.
        self._filled -= count
        self._view[: self._filled] = self._view[count : count + self._filled]

    def _fill(self, count):
        # Reads until at least *count* bytes are in the buffer.
        while self._filled < count:
            n = self._connection.readinto(self._view[self._filled :])
            if n == 0:  # the buffer is full, or the body at its end
                raise OTAError(_DAMAGED, "the form is cut off")
            self._filled += n or 0
            yield bool(n)

    def _enter(self):
        # Reads the headers of the next part, or to the end of the form. Returns the update command
        # of the part, if a file was chosen for it.
        yield from self._fill(2)
        self._is_at_end = self._view[:2] == b"--"
        if self._is_at_end:
            return None
        while True:
            end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
            if end >= 0:
                break
            yield from self._fill(self._filled + 1)
        headers = bytes(self._view[:end])
        self._drop(end + 4)
        name = headers.find(b"filename=")
        if name < 0 or headers[name + 9 : name + 11] == b'""':
            return None
        return _U_FS if b' name="filesystem"' in headers else _U_FLASH

    def _pass(self, sink):
        # Passes everything up to the next delimiter to *sink*, a generator function, or drops it if
        # *sink* is None; then skips the delimiter.
        delimiter = self._delimiter
        while True:
            at = self._buffer.find(delimiter, 0, self._filled)
            # The last bytes in the buffer may be the beginning of the delimiter.
            count = self._filled - len(delimiter) + 1 if at < 0 else at
            if count > 0:
                if sink:
                    for _ in sink(self._view[:count]):
                        yield True
                self._drop(count)
            if at >= 0:
                self._drop(len(delimiter))
                return
            yield from self._fill(self._filled + 1)
