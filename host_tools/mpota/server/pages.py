"""The page for operators: logins, the frame that all views have, and news of what has changed.

The server makes HTML; the page's script only keeps it fresh and asks before what cannot be undone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from mpota.errors import CommandError
from mpota.server import accounts, actions, changes, counting, views
from mpota.server.accounts import Principal
from mpota.server.database import Operator
from mpota.server.errors import (
    DatabaseError,
    ForbiddenError,
    MeanwhileError,
    RefusedError,
    UnauthorizedError,
)
from mpota.server.forms import Form, read_fields, read_form
from mpota.server.requests import address_of
from mpota.server.shared import Shared
from mpota.server.times import ago, moment
from mpota.server.views import View

if TYPE_CHECKING:
    from mpota.server.app import Server

COOKIE = "mpota_session"
_HERE = Path(__file__).parent
_NAME_LIMIT = 64  # characters of an operator's name
_NEWS_S = 2.0  # between two looks for what has changed, while somebody looks at a page
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_Show = Callable[[Session, Principal, Request], View]
_Change = Callable[["Server", Session, Principal, Request, Form], str]


class _LoginWantedError(Exception):
    """Whoever asks must log in first."""


class _PasswordWantedError(_LoginWantedError):
    """Whoever asks must choose another password first."""


class Pages:
    """The routes of the page of *server*."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._templates.filters |= {"ago": ago, "moment": moment, "mac": _mac, "bytes": _bytes}

        # However many look at a page, what has changed is looked up once.
        self._news = Shared(lambda: counting.news(server.database), _NEWS_S)

    def routes(self) -> list[BaseRoute]:
        """Return the routes, relative to the server's root."""
        get, post = self._get, self._post
        return [
            Route("/", get(views.overview)),
            Route("/login", self._show_login, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
            Route("/password", get(views.password, must_change=True), methods=["GET"]),
            Route("/password", post(changes.change_password, must_change=True), methods=["POST"]),
            Route("/boards", get(views.boards)),
            Route("/boards/{mac}", get(views.board), methods=["GET"]),
            Route("/boards/{mac}", post(changes.change_board), methods=["POST"]),
            Route("/releases", get(views.releases), methods=["GET"]),
            Route("/releases", post(changes.add_release), methods=["POST"]),
            Route("/releases/{number}", post(changes.change_release), methods=["POST"]),
            Route("/rollouts/new", get(views.new_rollout), methods=["GET"]),
            Route("/rollouts/new", post(changes.start_rollout), methods=["POST"]),
            Route("/rollouts/{number}", get(views.rollout), methods=["GET"]),
            Route("/rollouts/{number}", post(changes.move_rollout), methods=["POST"]),
            Route("/audit", get(views.audit)),
            Route("/events", self._events),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ]

    def failed(self, error: CommandError) -> Response:
        """Return the page that says why something was not done."""
        status = error.status if isinstance(error, RefusedError) else 400
        return _html(self._render("problem.html", message=str(error)), status)

    # The frame of every view. With `must_change`, a view is also for operators who have yet to
    # choose a password of their own.

    def _get(self, show: _Show, must_change: bool = False) -> Callable[[Request], Any]:
        def run(request: Request) -> Response:
            with self._server.database.reading() as session:
                principal = self._principal(session, request, must_change)
                actions.demand(principal, accounts.READ)
                view = show(session, principal, request)
                return _html(self._render(view.template, principal, **view.values))

        async def answer(request: Request) -> Response:
            return await self._answer(asyncio.to_thread(run, request))

        return answer

    def _post(self, change: _Change, must_change: bool = False) -> Callable[[Request], Any]:
        async def run(request: Request) -> Response:
            # Whoever is not logged in cannot let the server read a large form.
            await asyncio.to_thread(self._check_login, request, must_change)
            form = await read_form(request)
            return await asyncio.to_thread(self._changed, request, change, form, must_change)

        async def answer(request: Request) -> Response:
            return await self._answer(run(request))

        return answer

    def _check_login(self, request: Request, must_change: bool) -> None:
        with self._server.database.reading() as session:
            self._principal(session, request, must_change)

    def _changed(
        self, request: Request, change: _Change, form: Form, must_change: bool
    ) -> Response:
        with self._server.database.writing() as session:
            principal = self._principal(session, request, must_change)
            if not accounts.is_same(form.text("csrf"), principal.csrf):
                raise ForbiddenError(
                    "this form belongs to another login: go back and load the page anew"
                )
            shown = change(self._server, session, principal, request, form)
        self._server.reception.refresh()
        return _to(shown)

    async def _answer(self, making: Awaitable[Response]) -> Response:
        try:
            return await making
        except _PasswordWantedError:
            return _to("/password")
        except _LoginWantedError:
            return _to("/login")
        except CommandError as error:
            return self.failed(error)
        except IntegrityError:
            return self.failed(MeanwhileError())
        except SQLAlchemyError:
            return self.failed(DatabaseError())

    def _render(self, name: str, principal: Principal | None = None, **values: object) -> str:
        return self._templates.get_template(name).render(principal=principal, **values)

    def _principal(self, session: Session, request: Request, must_change: bool) -> Principal:
        address = address_of(request.scope, self._server.options.proxies)
        cookie = request.cookies.get(COOKIE, "")
        principal = accounts.by_cookie(session, cookie, address)
        if principal is None:
            raise _LoginWantedError
        if principal.must_change and not must_change:
            raise _PasswordWantedError
        return principal

    # Logging in and out

    async def _show_login(self, request: Request) -> Response:
        return _html(self._render("login.html", message=""))

    async def _log_in(self, request: Request) -> Response:
        try:
            form = await read_fields(request)
            # There is no session yet whose token the form could bring. Browsers tell instead
            # whether the form stands on a page of this server.
            if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                raise ForbiddenError("log in on the server's own page")
            name = form.text("name")[:_NAME_LIMIT]
            name = "".join(char for char in name if char.isprintable())
            address = address_of(request.scope, self._server.options.proxies)
            operator = await self._server.logins.check(name, form.text("password"), address)
            return await asyncio.to_thread(self._logged_in, request, operator, address)
        except CommandError as error:
            status = error.status if isinstance(error, RefusedError) else 400
            if isinstance(error, UnauthorizedError):
                status = ForbiddenError.status  # the other one is for passwords in a header
            return _html(self._render("login.html", message=str(error)), status)
        except SQLAlchemyError:
            return self.failed(DatabaseError())

    def _logged_in(self, request: Request, operator: Operator, address: str) -> Response:
        with self._server.database.writing() as session:
            cookie = accounts.open_session(session, operator)
            accounts.note(session, accounts.principal_of(operator, address), "logged in")
        reply = _to("/")
        is_secure = request.url.scheme == "https" or (
            request.headers.get("x-forwarded-proto") == "https"
        )
        reply.set_cookie(
            COOKIE, cookie, max_age=accounts.SESSION_S, httponly=True, samesite="strict",
            secure=is_secure,
        )  # fmt: skip
        return reply

    async def _log_out(self, request: Request) -> Response:
        def close(
            server: "Server", session: Session, principal: Principal, request: Request, form: Form
        ) -> str:
            accounts.close_session(session, request.cookies.get(COOKIE, ""))
            return "/login"

        reply: Response = await self._post(close, must_change=True)(request)
        reply.delete_cookie(COOKIE)
        return reply

    # News

    async def _events(self, request: Request) -> Response:
        async def look() -> tuple[object, ...]:
            await asyncio.to_thread(self._check_login, request, must_change=False)
            return await self._news.get()

        async def events() -> AsyncIterator[str]:
            before = await look()
            yield "retry: 5000\n\n"
            worker = self._server.worker
            while worker and not worker.ending.is_set():
                try:
                    await asyncio.wait_for(worker.ending.wait(), _NEWS_S)
                except TimeoutError:
                    now = await look()
                    # A line of comment shows that the connection is still there.
                    yield ": \n\n" if now == before else "event: news\ndata: 1\n\n"
                    before = now

        try:
            await look()
        except _LoginWantedError:
            return Response(status_code=401)
        except SQLAlchemyError:
            return Response(status_code=503)
        return StreamingResponse(
            events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )


def _html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, _SECURITY)


def _to(path: str) -> Response:
    return RedirectResponse(path, 303, _SECURITY)


# How templates write values


def _mac(mac: str) -> str:
    return ":".join(mac[at : at + 2] for at in range(0, len(mac), 2))


def _bytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1024:.1f} KB"
