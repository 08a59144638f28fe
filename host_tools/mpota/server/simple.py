"""A server that gives boards the newest image of a folder: for a first try, and for tests.

It speaks what ESPhttpUpdate of the Arduino core speaks, so sketches can ask it as well. Requests
and replies are in docs/SPEC.md.
"""

import hashlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mpota import image
from mpota.errors import DamagedImageError
from mpota.image.manifest import Manifest

PORT = 8000

_USER_AGENT = "ESP8266-http-Update"
_IDLE_S = 30  # without a byte of a request or a byte taken: the board is gone
_MAC = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}")
_RANGE = re.compile(r"bytes=([0-9]{1,10})-")
_REFUSAL = b"this is an update server: boards ask it, with the headers of ESPhttpUpdate\n"


@dataclass(frozen=True)
class Release:
    """An image of the folder: what it says about itself, its bytes, their MD5 in hex."""

    manifest: Manifest
    data: bytes
    md5: str

    @property
    def etag(self) -> str:
        """The ETag, a strong one: the same bytes have the same."""
        return f'"{self.md5}"'


@dataclass(frozen=True)
class Reply:
    """What a request gets: a status and, where one is found, the release.

    `has_body` is whether its bytes follow, from *start* on.
    """

    status: int
    release: Release | None = None
    has_body: bool = False
    start: int = 0


@dataclass(frozen=True)
class Exchange:
    """A request and what became of it, for a line of a log.

    `runs` is the board's name and version as far as it tells them, `outcome` how its last update
    ended, in its own words; `sent` counts the bytes of the body that it took.
    """

    mac: str
    runs: str
    outcome: str
    reply: Reply
    sent: int


class ImageFolder:
    """The images in *folder*, as they are when somebody asks.

    A folder in it whose name is a MAC address, 12 hex digits, has images for that board alone.
    *complain* is called with a line about a file that is no good image, once for each change of it.
    """

    def __init__(self, folder: Path, complain: Callable[[str], None]) -> None:
        self.folder = folder
        self._complain = complain
        self._known: dict[Path, tuple[tuple[int, int], Release | None]] = {}
        self._lock = threading.Lock()

    def newest(self, mac: str, name: str = "") -> Release | None:
        """Return the release with the highest sequence for the board *mac*, or None.

        *name* is the application's. Without one, all images must be of one application. Images for
        that board alone go before all others.
        """
        with self._lock:
            return self._newest(self.folder / mac.replace(":", ""), name) or self._newest(
                self.folder, name
            )

    def _newest(self, folder: Path, name: str) -> Release | None:
        if not folder.is_dir():
            return None
        releases = [r for path in sorted(folder.iterdir()) if (r := self._release(path))]
        if not name and len({r.manifest.name for r in releases}) > 1:
            return None
        releases = [r for r in releases if r.manifest.name == name or not name]
        return max(releases, key=lambda r: r.manifest.sequence, default=None)

    def _release(self, path: Path) -> Release | None:
        try:
            status = path.stat()
            if not path.is_file() or path.name.startswith("."):
                return None
            version = (status.st_mtime_ns, status.st_size)
            known = self._known.get(path)
            if known is None or known[0] != version:
                known = self._known[path] = (version, self._read(path))
            return known[1]
        except OSError as error:  # it was taken away at this moment, or may not be read
            self._complain(f"{path}: {error.strerror}")
            return None

    def _read(self, path: Path) -> Release | None:
        data = path.read_bytes()
        try:
            manifest = image.read(data).manifest
        except (DamagedImageError, image.OldImageError) as error:
            self._complain(f"{path}: {error}")
            return None
        return Release(manifest, data, hashlib.md5(data).hexdigest())


def decide(images: ImageFolder, path: str, headers: Mapping[str, str]) -> Reply:
    """Return what the request for *path* with *headers* gets; names of headers count in any case.

    The last part of the path, if there is one, is the name of an application; without it our own
    boards tell the name.
    """
    told = {name.lower(): value for name, value in headers.items()}
    mac = told.get("x-esp8266-sta-mac", "")
    if told.get("user-agent") != _USER_AGENT or not _MAC.fullmatch(mac):
        return Reply(403)
    if told.get("x-esp8266-mode") == "spiffs":
        return Reply(404)
    name = path.partition("?")[0].rpartition("/")[2] or told.get("x-mpota-name", "")
    release = images.newest(mac, name)
    if release is None:
        return Reply(404)
    if told.get("x-esp8266-mode") == "version":
        return Reply(200, release)
    if not _is_news(release, told) or told.get("if-none-match") == release.etag:
        return Reply(304, release)
    asked = _RANGE.fullmatch(told.get("range", ""))
    if asked and told.get("if-range", release.etag) == release.etag:
        start = int(asked[1])
        return Reply(206, release, True, start) if start < len(release.data) else Reply(416)
    return Reply(200, release, True)


def _is_news(release: Release, told: dict[str, str]) -> bool:
    # By the version where the board tells one; a board without one is told by its image's MD5.
    version = told.get("x-esp8266-version")
    if version is None:
        return told.get("x-esp8266-sketch-md5", "").lower() != release.md5
    return version != release.manifest.version


class SimpleServer(ThreadingHTTPServer):
    """Serves *images* at *address*, an IP address and a port; 0 is any that is free.

    *on_exchange* is called after each request. Call `serve_forever()`, and from another thread
    `shutdown()`.
    """

    daemon_threads = True
    # On Windows, the option lets two programs listen at the same port.
    allow_reuse_address = os.name == "posix"

    def __init__(
        self,
        address: tuple[str, int],
        images: ImageFolder,
        on_exchange: Callable[[Exchange], None] = lambda exchange: None,
    ) -> None:
        self.images = images
        self.on_exchange = on_exchange
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: SimpleServer
    server_version = "mpota"
    timeout = _IDLE_S

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
        headers = dict(self.headers)
        reply = decide(self.server.images, self.path, headers)
        sent = 0
        try:
            self._send_head(reply)
            if reply.status == 403:
                self.wfile.write(_REFUSAL)
            elif reply.has_body and reply.release:
                sent = self._send(reply.release.data[reply.start :])
        except OSError:  # the board is gone
            pass
        name = headers.get("x-mpota-name", "")
        self.server.on_exchange(
            Exchange(
                headers.get("x-ESP8266-STA-MAC", self.client_address[0]),
                " ".join(filter(None, (name, headers.get("x-ESP8266-version", "")))),
                headers.get("x-mpota-outcome", ""),
                reply,
                sent,
            )
        )

    def _send_head(self, reply: Reply) -> None:
        self.send_response(reply.status)
        release = reply.release
        if release:
            self.send_header("x-version", release.manifest.version)
            self.send_header("x-MD5", release.md5)
            self.send_header("ETag", release.etag)
        size = len(release.data) if release else 0
        if reply.status == 206:
            self.send_header("Content-Range", f"bytes {reply.start}-{size - 1}/{size}")
        if reply.has_body:
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(size - reply.start))
        elif reply.status == 403:
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(_REFUSAL)))
        elif reply.status != 304:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes) -> int:
        # Returns how many of the bytes the connection took.
        sent = 0
        try:
            while sent < len(data):
                sent += self.connection.send(data[sent : sent + 65536])
        except OSError:
            pass
        return sent

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr: `on_exchange` has it all."""
