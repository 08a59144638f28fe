"""The application of a worker: boards at /update, operators at /, programs at /api."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType
from typing import Any

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from mpota.image.keys import load_public_key
from mpota.server import api, counting, logs, metrics
from mpota.server.database import Clock, Database
from mpota.server.errors import MethodError, NotFoundError, RefusedError, UnexpectedError
from mpota.server.images import ImageDirectory
from mpota.server.logins import Logins
from mpota.server.options import Options
from mpota.server.pages import Pages
from mpota.server.reception import Reception
from mpota.server.shared import Shared
from mpota.server.update import PATH, UpdateEndpoint
from mpota.server.worker import Worker

_COUNTS_S = 5.0  # so long the figures of the database are those for /metrics
_log = logging.getLogger("mpota.worker")


class Server:
    """The parts of a worker, made as its *options* say."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.database = Database(options.database_url)
        self.images = ImageDirectory(options.images)
        self.keys = [load_public_key(Path(name)) for name in options.keys]
        self.metrics = metrics.Metrics()
        self.logins = Logins(self.database)
        self._counts = Shared(lambda: counting.counts(self.database), _COUNTS_S)
        self.reception = Reception(self.database, options)
        self.update = UpdateEndpoint(self.reception, self.images, options, self.metrics)
        self.worker: Worker | None = None

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Let the worker's own work go on while the application answers."""
        self.worker = Worker(self.database, self.reception, self.options)
        _hear_of_end(self.worker.ending)
        task = asyncio.create_task(self.worker.run())
        try:
            yield
        finally:
            self.worker.ending.set()
            await task
            self.update.close()
            self.logins.close()
            self.worker.finish()
            self.database.close()
            _log.info("the worker has ended")

    def application(self) -> Starlette:
        """Return the ASGI application."""
        pages = Pages(self)

        def answer(request: Request, problem: RefusedError) -> Response:
            is_api = request.url.path.startswith(f"{api.PREFIX}/")
            return api.failed(problem) if is_api else pages.failed(problem)

        async def crashed(request: Request, error: Exception) -> Response:
            where = f"{request.method} {request.url.path[:200]!r}"
            _log.error("an unexpected error: %s", where, exc_info=error)
            return answer(request, UnexpectedError())

        async def failed(request: Request, error: Exception) -> Response:
            # No route takes the request, or its body cannot be read.
            assert isinstance(error, HTTPException)
            message = f"{error.detail}: {request.method} {request.url.path[:200]!r}"
            problem = RefusedError(message)
            if error.status_code == 404:
                problem = NotFoundError(message)
            elif error.status_code == 405:
                problem = MethodError((error.headers or {}).get("Allow", "other methods"))
            return answer(request, problem)

        return Starlette(
            routes=[
                Route(PATH, self.update),
                Mount(PATH, self.update),
                Mount(api.PREFIX, routes=api.routes(self)),
                Route("/health", self._health),
                Route("/ready", self._ready),
                Route("/metrics", self._metrics),
                *pages.routes(),
            ],
            exception_handlers={HTTPException: failed, Exception: crashed},
            lifespan=self.lifespan,
        )

    async def _health(self, request: Request) -> Response:
        # It says that the worker is alive; /ready says whether the database answers, too.
        return JSONResponse({"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        try:
            await asyncio.to_thread(self._look)
        except Exception as error:
            # Everybody may ask: the log alone tells why.
            _log.error("the database does not answer: %s", error)
            return JSONResponse({"status": "not ready"}, 503)
        return JSONResponse({"status": "ready"})

    def _look(self) -> None:
        with self.database.reading() as session:
            session.execute(sa.select(Clock.revision)).one()

    async def _metrics(self, request: Request) -> Response:
        page = self.metrics.page(await self._counts.get())
        return Response(page, media_type=metrics.CONTENT_TYPE)


def _hear_of_end(ending: asyncio.Event) -> None:
    # granian ends the application when all its answers are complete. The news to pages are answers
    # that go on for ever, so they must hear of the signal themselves.
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)

        def heard(number: int, frame: FrameType | None, before: Any = before) -> None:
            loop.call_soon_threadsafe(ending.set)
            if callable(before):
                before(number, frame)

        signal.signal(number, heard)


def create() -> Starlette:
    """Make the application of a worker whose options are in its environment."""
    options = Options.from_environment()
    logs.set_up(options.log)
    return Server(options).application()
