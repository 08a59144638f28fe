"""`GET /update`: the questions of boards and the answers on the wire. Protocol: docs/SPEC.md."""

import asyncio
import collections
import hashlib
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from mpota.errors import CommandError
from mpota.server import questions
from mpota.server.decision import Arduino, Release
from mpota.server.images import ImageDirectory
from mpota.server.metrics import Metrics
from mpota.server.options import Options
from mpota.server.questions import NoBoardError, Question
from mpota.server.reception import Reception, Reply
from mpota.server.requests import address_of

PATH = "/update"

_THREADS = 8  # in each worker, for questions to the database
_QUEUE_LIMIT = 400  # so many questions may wait for the database; other boards come back later
_BACK_S = (30, 300)  # when those boards come back, each at a time of its own
_CACHE_BYTES = 16 << 20  # so much of the images each worker keeps in memory
_CHUNK_BYTES = 64 << 10
_log = logging.getLogger("mpota.update")

_Headers = list[tuple[bytes, bytes]]


class _File(NamedTuple):
    """A file in the folder of images."""

    name: str
    md5: str


class UpdateEndpoint:
    """An ASGI application that answers boards from *reception*, with files of *images*."""

    def __init__(
        self, reception: Reception, images: ImageDirectory, options: Options, metrics: Metrics
    ) -> None:
        self._reception = reception
        self._images = images
        self._options = options
        self._metrics = metrics
        self._insists = options.arduino == Arduino.CURRENT
        self._pool = ThreadPoolExecutor(_THREADS, "update")
        # To make a delta takes half a second of Python: one at a time, and each of them once.
        self._maker = ThreadPoolExecutor(1, "delta")
        self._making: dict[str, asyncio.Future[bytes]] = {}
        self._waiting = 0
        self._cache: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        self._cached_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "GET":
            await _send(send, 405, [(b"allow", b"GET")])
            return
        began = time.perf_counter()
        try:
            question = questions.read(
                scope["path"][len(PATH) :],
                scope["headers"],
                address_of(scope, self._options.proxies),
                self._insists,
            )
        except NoBoardError as error:
            self._metrics.answered(403, began)
            await _send(send, 403, [(b"content-type", b"text/plain")], f"{error}\n".encode())
            return
        reply = self._reception.quick(question)
        if reply is None:
            reply = await self._ask(question)
        try:
            status, sent = await self._answer(send, question, reply)
        except OSError as error:
            _log.error("an image is gone: %s", error)
            status, sent = 503, 0
            await _send(send, 503, [(b"retry-after", b"%d" % _back_s())])
        self._metrics.answered(status, began, sent)
        if status != 304:
            release = reply.release
            _log.info(
                "%s %s: %d %s",
                question.mac,
                question.version or question.sequence or "",
                status,
                reply.why,
                extra={
                    "mac": question.mac,
                    "status": status,
                    "release": release and f"{release.application} {release.version}",
                    "bytes": sent,
                    "outcome": question.outcome,
                },
            )

    def close(self) -> None:
        """End the threads when they have finished their questions."""
        self._pool.shutdown()
        self._maker.shutdown()

    async def _ask(self, question: Question) -> Reply:
        if self._waiting >= _QUEUE_LIMIT:
            self._metrics.shed()
            return Reply(503, "too many boards ask at once", wait_s=_back_s())
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._reception.ask, question)
        except Exception as error:  # whatever it is, the board must be told to come back
            self._metrics.failed()
            _log.error("the database did not answer: %s", error, exc_info=_log.isEnabledFor(10))
            return Reply(503, "the database did not answer", wait_s=_back_s())
        finally:
            self._waiting -= 1

    async def _answer(self, send: Send, question: Question, reply: Reply) -> tuple[int, int]:
        # Sends the answer; returns its status, and how many bytes of an image were sent.
        release = reply.release
        headers: _Headers = []
        file: _File | None = None
        if release is not None:
            file = _File(self._images.name(release.sha256), release.md5)
            if not self._options.images_url:
                file = await self._smaller(reply, release) or file
            headers = [
                (b"x-version", release.version.encode("latin-1", "replace")),
                (b"x-md5", file.md5.encode()),
                (b"etag", f'"{file.md5}"'.encode()),
            ]
        if reply.status == 401:
            headers.append((b"www-authenticate", b'Basic realm="mpota"'))
        if reply.status == 503:
            headers.append((b"retry-after", b"%d" % reply.wait_s))
        if file is None or not reply.has_body:
            await _send(send, reply.status, headers)
            return reply.status, 0
        headers.append((b"content-type", b"application/octet-stream"))
        if self._options.images_url:
            location = f"{self._options.images_url.rstrip('/')}/{file.name}"
            await _send(send, 302, [*headers, (b"location", location.encode())])
            return 302, 0
        if self._options.accel:
            # The web server before this one sends the file, whole or in part, with these headers.
            accel = f"{self._options.accel.rstrip('/')}/{file.name}".encode()
            await _send(send, 200, [*headers, (b"x-accel-redirect", accel)])
            return 200, 0
        headers.append((b"accept-ranges", b"bytes"))
        return await self._send_file(send, question, file, headers)

    async def _smaller(self, reply: Reply, release: Release) -> "_File | None":
        # Returns the delta from what the board runs, or else the gzip, if the board takes it and it
        # saves enough.
        images = self._images
        base = reply.base
        if base is not None:
            name = images.delta_name(base.sha256, release.sha256)
            made = await self._made(name, images.delta, base.sha256, release.sha256)
            if made:
                return _File(name, hashlib.md5(made).hexdigest())
        if reply.may_be_gzip and release.md5 == release.content_md5:  # it is none yet
            name = images.gzip_name(release.sha256)
            made = await self._made(name, images.gzip, release.sha256)
            if made:
                return _File(name, hashlib.md5(made).hexdigest())
        return None

    async def _made(self, name: str, make: Callable[..., bytes], *digests: str) -> bytes:
        # Returns the file *name*, which *make* makes of the images with these digests; nothing
        # where it fails.
        making = self._making.get(name)
        if making is None:
            loop = asyncio.get_running_loop()
            making = self._making[name] = loop.run_in_executor(self._maker, make, *digests)
            making.add_done_callback(lambda _: self._making.pop(name))
        try:
            return await asyncio.shield(making)  # a board that leaves stops it for no other one
        except (OSError, CommandError) as error:
            _log.error("no %s can be made: %s", make.__name__, error)
            return b""

    async def _send_file(
        self, send: Send, question: Question, file: "_File", headers: _Headers
    ) -> tuple[int, int]:
        data = await self._file(file.name)
        size = len(data)
        start, end, status = 0, size, 200
        if question.range and question.if_range in (None, f'"{file.md5}"'):
            start, last = question.range
            end = size if last is None else min(last + 1, size)
            if start >= end:
                await _send(send, 416, [*headers, (b"content-range", b"bytes */%d" % size)])
                return 416, 0
            status = 206
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, (b"content-length", b"%d" % (end - start))],
            }
        )
        for at in range(start, end, _CHUNK_BYTES):
            chunk = data[at : min(at + _CHUNK_BYTES, end)]
            more = at + _CHUNK_BYTES < end
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
        return status, end - start

    async def _file(self, name: str) -> bytes:
        data = self._cache.get(name)
        if data is None:
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(self._pool, self._images.read_file, name)
            if name not in self._cache:  # another request may have read it meanwhile
                self._cached_bytes += len(data)
                self._cache[name] = data
            while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        self._cache.move_to_end(name)
        return data


def _back_s() -> int:
    return random.randint(*_BACK_S)


async def _send(send: Send, status: int, headers: _Headers, body: bytes = b"") -> None:
    if status != 304:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
