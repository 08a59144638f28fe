"""A web server of which every page is a function of the test's, down to the bytes on the wire."""

import contextlib
import hashlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_PATIENCE_S = 30


@dataclass(frozen=True)
class Request:
    """What was asked: the first line's parts, the headers by their names in lower case.

    `head` is all of it, as it came.
    """

    method: str
    path: str
    version: str
    headers: dict[str, str]
    head: bytes

    @property
    def start(self) -> int:
        """The first byte that is asked for."""
        return int(self.headers.get("range", "bytes=0-")[6:-1])


Page = Callable[[socket.socket, Request], None]


class WebSite:
    """Answers at `url` until the `with` ends; `pages` maps paths to functions.

    A page gets the connection, and closes nothing. `requests` has all that came, in their order.
    With a *context* it speaks TLS.
    """

    def __init__(
        self, ip: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []
        self._listener = socket.create_server((ip, port))
        self.address = self._listener.getsockname()
        self._context = context
        self.url = ("https" if context else "http") + "://{}:{}".format(*self.address)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "WebSite":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Only shutdown() wakes a thread that waits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def add(self, path: str, page: Page) -> str:
        """Answer *path* by *page*; return its whole address."""
        self.pages[path] = page
        return self.url + path

    def asked(self, path: str) -> list[Request]:
        """Return the requests for *path*, a query aside."""
        return [r for r in self.requests if r.path.partition("?")[0] == path]

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE_S)
        if self._context:
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                return
        with connection, contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                if not byte:
                    return
                head += byte
            first, *lines = head[:-4].decode().split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(": ")
                assert name.lower() not in headers, f"{name} came twice"
                headers[name.lower()] = value
            request = Request(*first.split(" "), headers, head)
            self.requests.append(request)
            page = self.pages.get(request.path.partition("?")[0], status("404 Not Found"))
            page(connection, request)
            # If bytes were unread, closing the connection would reset it.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(1)
            while connection.recv(65536):
                pass


def head(status: str = "200 OK", **headers: object) -> bytes:
    """Return the head of a reply; `Content_Length=…` is the header Content-Length."""
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def says(data: bytes) -> Page:
    """Return a page that is *data* whatever is asked."""
    return lambda connection, request: connection.sendall(data)


def status(line: str, **headers: object) -> Page:
    """Return a page without a body."""
    return says(head(line, **{"Content_Length": 0} | headers))


def file(data: bytes, **headers: object) -> Page:
    """Return a page with *data* and its length, and nothing by which it could be resumed."""
    return says(head(Content_Length=len(data), **headers) + data)


def md5(data: bytes) -> str:
    """Return the MD5 of *data* in hex."""
    return hashlib.md5(data).hexdigest()


# Ways to break off a connection


def close(connection: socket.socket) -> None:
    """End the connection in order."""


def reset(connection: socket.socket) -> None:
    """End the connection by a reset, once everything has arrived."""
    deadline = time.monotonic() + _PATIENCE_S
    while _unsent(connection) and time.monotonic() < deadline:
        time.sleep(0.001)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def be_silent(connection: socket.socket) -> None:
    """Say nothing more until the board has closed the connection."""
    while not select.select([connection], [], [], _PATIENCE_S)[0]:
        pass


def _unsent(connection: socket.socket) -> int:
    import fcntl
    import termios

    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]


class StrongFile:
    """A page that serves parts of `data` by its `etag`, as nginx does; an empty one is not told.

    `breaks` are the places, counted in the whole file, where the next replies are broken off, by
    `how`; when there are none left, replies are whole. `sent` counts the bytes of bodies.
    """

    def __init__(self, data: bytes, breaks: Iterator[int] | tuple[int, ...] = (),
                 how: Callable[[socket.socket], None] = close, etag: str | None = None,
                 **headers: object) -> None:  # fmt: skip
        self.data = data
        self.etag = f'"{md5(data)}"' if etag is None else etag
        self.how = how
        self.sent = 0
        self._breaks = iter(breaks)
        self._headers = headers
        self._validator = self.etag or headers.get("Last_Modified")

    def __call__(self, connection: socket.socket, request: Request) -> None:
        headers = request.headers
        if headers.get("if-none-match") == self.etag:
            connection.sendall(head("304 Not Modified", ETag=self.etag))
            return
        size, start = len(self.data), 0
        if headers.get("if-range", self._validator) == self._validator:
            start = request.start
        sizes = {"Content_Length": size - start} | self._headers
        if self.etag:
            sizes["ETag"] = self.etag
        if start:
            sizes["Content_Range"] = f"bytes {start}-{size - 1}/{size}"
        end = next(self._breaks, size)
        body = self.data[start:end]
        line = "206 Partial Content" if start else "200 OK"
        self.sent += len(body)  # counted first: the board may be done before this thread goes on
        connection.sendall(head(line, **sizes) + body)
        if end < size:
            self.how(connection)
