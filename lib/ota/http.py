"""The head of an HTTP message: its first line and its headers, read with bounds. For the page and
for the pull client.

RAM: about 0.6 KB while loaded, beside the caller's buffer and the headers that are kept.
"""

import uerrno
from micropython import const

# The limit of a whole head. Browsers send less than 1 KB, but may add another server's cookies.
_MAX_HEAD_BYTES = const(8192)

_BAD_REQUEST = const(400)
_LINE_TOO_LONG = const(414)
_HEADERS_TOO_LARGE = const(431)


class HTTPError(Exception):
    """A message is refused; the arguments are an HTTP status and a reason in words."""


class Head:
    """A head that is read through *buffer*, a bytearray, whose first *filled* bytes have come.

    The first line must fit into *buffer*, and so must a header of *names*: lower-case bytes, with a
    space before and behind each name. Other headers are passed over, whatever their length.
    """

    line = None  # the first line, bytes, as soon as it is there

    def __init__(self, buffer, names, filled=0):
        self.fields = {}  # the headers of *names* that are there: name → value, both bytes
        # How many bytes of the buffer are in use. When the head is complete, the bytes that follow
        # it stand at the front.
        self.filled = filled
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._names = names
        self._size = 0  # bytes of the head so far
        self._is_passing = False  # whether the line that goes on is too long, and of no interest

    def read(self, stream):
        """Read from *stream*, any object with `readinto`; return whether the head is complete.

        Raises HTTPError 400 if this is not a head, 414 if the first line is too long, 431 if there
        are too many headers; OSError at the end of the stream.
        """
        while not self._take_lines():
            n = stream.readinto(self._view[self.filled :])
            if n is None:
                return False
            if n == 0:
                raise OSError(uerrno.ECONNRESET)
            self.filled += n
        return True

    def _take_lines(self):
        # Takes the whole lines of the buffer; returns whether the empty line was among them.
        find = self._buffer.find
        at = 0
        is_complete = False
        while not is_complete:
            end = find(b"\n", at, self.filled)
            if end < 0:
                break
            is_complete = self._take_line(at, end)
            at = end + 1
        if not is_complete and at == 0 and self.filled == len(self._buffer):
            self._pass()
            at = self.filled
        self._size += at
        if self._size > _MAX_HEAD_BYTES:
            raise HTTPError(_HEADERS_TOO_LARGE, "more than 8 KB of headers")
        self.filled -= at
        self._view[: self.filled] = self._view[at : at + self.filled]
        return is_complete

    def _take_line(self, start, end):
        # Takes one line, without its line feed; returns whether it is the empty one.
        if self._is_passing:
            self._is_passing = False
            return False
        if end > start and self._buffer[end - 1] == 13:
            end -= 1
        if self.line is None:
            self.line = bytes(self._view[start:end])
            return False
        if start == end:
            return True
        name = self._name(start, end)
        if self._is_wanted(name):
            value = bytes(self._view[start + len(name) + 1 : end]).strip()
            if self.fields.setdefault(name, value) != value:
                raise HTTPError(_BAD_REQUEST, "two different headers of one name")
        return False

    def _pass(self):
        # The buffer is full and there is no end of the line in it.
        if self.line is None:
            raise HTTPError(_LINE_TOO_LONG, "the first line is too long")
        if not self._is_passing and self._is_wanted(self._name(0, self.filled)):
            raise HTTPError(_HEADERS_TOO_LARGE, "a header is too long")
        self._is_passing = True

    def _name(self, start, end):
        # The name of the header that is there, in lower case. The continuation of a header in a
        # second line is refused with what has no name: nobody sends it any more (RFC 9112, 5.2).
        colon = self._buffer.find(b":", start, end)
        name = bytes(self._view[start : max(colon, start)]).lower()
        if not name or b" " in name or b"\t" in name:
            raise HTTPError(_BAD_REQUEST, "a header without a name")
        return name

    def _is_wanted(self, name):
        return b" " + name + b" " in self._names
