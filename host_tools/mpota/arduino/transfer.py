"""The second half of an upload: send the image in chunks, each acknowledged by the board."""

import socket
import time
from collections.abc import Callable

from mpota.arduino.outcomes import (
    ConnectionLostError,
    NoResultError,
    RefusedError,
    UnexpectedReplyError,
    printable,
)
from mpota.arduino.replies import Replies

CHUNK = 1460  # bytes: what one TCP segment carries; espota.py's
_RECEIVE_LIMIT = 256  # bytes


class Transfer:
    """Send `size` bytes over a connection that the board has made."""

    # Each time is for the whole answer, even if the board sends it byte by byte. count_s and
    # result_s are espota.py's.
    count_s = 10.0  # for the board to acknowledge a chunk
    quiet_s = 1.0  # after counts with another sum than the chunk has: then no more are coming
    error_s = 1.0  # for the rest of an error's text
    result_s = 60.0  # for OK or an error, after the last byte

    def __init__(
        self,
        connection: socket.socket,
        size: int,
        progress: Callable[[int, int], None],
        state: Callable[[str], None],
        sent: Callable[[], None],
    ):
        self._connection, self._size = connection, size
        self._progress, self._state, self._sent = progress, state, sent
        self._replies = Replies()
        self._done = 0
        self._heard = False  # whether the board has sent anything since the last chunk

    def run(self, data: bytes) -> None:
        """Send the image and return when the board has said OK. Raises an UploadError."""
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        image = memoryview(data)
        for start in range(0, self._size, CHUNK):
            self._send(image[start : start + CHUNK])
        self._state("waiting for the result")
        until = time.monotonic() + self.result_s
        while not self._replies.ok:
            try:
                came = self._receive(until - time.monotonic())
            except OSError:
                came = False
            if not came:
                done = "all" if self._done == self._size else f"{self._done} of"
                raise NoResultError(
                    f"the board acknowledged {done} {self._size} bytes and did not say whether it "
                    "takes the image: see with 'mpota status' which version it runs, then try again"
                )

    def _send(self, chunk: memoryview) -> None:
        self._replies.expect(len(chunk))
        self._heard = False
        last = self._done + len(chunk) == self._size
        try:
            self._connection.settimeout(self.count_s)
            if last:
                self._sent()
            self._connection.sendall(chunk)
            self._await_count(last)
        except OSError as error:
            silent = isinstance(error, TimeoutError)
            if not silent:
                self._hear_out()
            if last:  # the board may have all bytes: only its result can tell
                return
            cause = "connection lost"
            if silent:
                cause = (
                    f"the board acknowledged nothing for {self.count_s:g} s, though it sent bytes"
                    if self._heard
                    else f"the board fell silent for {self.count_s:g} s"
                )
            raise ConnectionLostError(
                f"{cause} after {self._done} of {self._size} bytes, and the board keeps the "
                "version that it runs: try again"
            ) from error
        self._done += len(chunk)
        self._progress(self._done, self._size)

    def _await_count(self, last: bool) -> None:
        until = time.monotonic() + self.count_s
        while not self._replies.acknowledged and not self._replies.ok:
            left_s = until - time.monotonic()
            counting = self._replies.counting
            if not self._receive(min(left_s, self.quiet_s) if counting else left_s):
                if counting:
                    break
                raise TimeoutError
        if self._replies.word and not last:
            raise self._unexpected()

    def _receive(self, timeout_s: float) -> bool:
        """Read what the board sends; return False when it sends nothing in time.

        Raises RefusedError for an error of the board, ConnectionError at the connection's end.
        """
        if timeout_s <= 0:
            return False
        self._connection.settimeout(timeout_s)
        try:
            data = self._connection.recv(_RECEIVE_LIMIT)
        except TimeoutError:
            return False
        if not data:
            raise ConnectionResetError
        self._heard = True
        self._replies.feed(data)
        if self._replies.error:
            self._hear_out()
        if self._replies.unexpected:
            raise self._unexpected()
        return True

    def _hear_out(self) -> None:
        """Read the rest of what the board has sent; raise RefusedError for an error."""
        until = time.monotonic() + self.error_s
        try:
            while not self._replies.complete and (left_s := until - time.monotonic()) > 0:
                self._connection.settimeout(left_s)
                if not (data := self._connection.recv(_RECEIVE_LIMIT)):
                    break
                self._replies.feed(data)
        except OSError:  # closed or silent: nothing more will arrive
            pass
        if self._replies.error:
            raise RefusedError(self._replies.word)

    def _unexpected(self) -> UnexpectedReplyError:
        return UnexpectedReplyError(
            f"after {self._done} of {self._size} bytes the board said "
            f"{printable(self._replies.word)!r}, which is not in the protocol: try again"
        )
