"""The page for operators: made here as HTML; scripts only keep it fresh and spare a click."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import jinja2
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from mpota.errors import CommandError
from mpota.server import accounts, actions, counting, decision, picture, rollouts
from mpota.server.accounts import Principal
from mpota.server.actions import ForbiddenError, NotFoundError
from mpota.server.api import TooLargeError, read_body
from mpota.server.database import BAD, OPEN, Attempt, Audit, Board, Release, Rollout
from mpota.server.decision import BoardState, RolloutState
from mpota.server.releases import SKETCH_LIMIT_BYTES, ConflictError
from mpota.server.update import address_of

if TYPE_CHECKING:
    from mpota.server.app import Server

COOKIE = "mpota_session"
_HERE = Path(__file__).parent
_FORM_LIMIT = SKETCH_LIMIT_BYTES + (64 << 10)
_PAGE_SIZE = 50
_NEWS_S = 2.0  # between two looks for what has changed, while somebody looks at a page
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _LoginWantedError(Exception):
    """Whoever asks must log in first."""


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
        self._templates.filters |= {"ago": _ago, "moment": _moment, "mac": _mac, "bytes": _bytes}

    def routes(self) -> list[BaseRoute]:
        """Give them."""
        get, post = self._get, self._post
        return [
            Route("/", get(self._overview)),
            Route("/login", self._show_login, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", post(self._log_out), methods=["POST"]),
            Route("/password", get(self._show_password, fresh=True), methods=["GET"]),
            Route("/password", post(self._change_password, fresh=True), methods=["POST"]),
            Route("/boards", get(self._boards)),
            Route("/boards/{mac}", get(self._board), methods=["GET"]),
            Route("/boards/{mac}", post(self._change_board), methods=["POST"]),
            Route("/releases", get(self._releases), methods=["GET"]),
            Route("/releases", post(self._add_release), methods=["POST"]),
            Route("/releases/{number:int}", post(self._change_release), methods=["POST"]),
            Route("/rollouts/new", get(self._new_rollout), methods=["GET"]),
            Route("/rollouts/new", post(self._start_rollout), methods=["POST"]),
            Route("/rollouts/{number:int}", get(self._rollout), methods=["GET"]),
            Route("/rollouts/{number:int}", post(self._move_rollout), methods=["POST"]),
            Route("/audit", get(self._audit)),
            Route("/events", self._events),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ]

    # The frame of every page

    def _get(self, show: Callable[..., str], fresh: bool = False) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return await self._answer(asyncio.to_thread(self._shown, request, show, fresh))

        return answer

    def _shown(self, request: Request, show: Callable[..., str], fresh: bool) -> Response:
        with self._server.database.reading() as session:
            principal = self._principal(session, request, fresh)
            actions.demand(principal, accounts.READ)
            return self._html(show(session, principal, request))

    def _post(self, do: Callable[..., Response], fresh: bool = False) -> Callable[[Request], Any]:
        async def run(request: Request) -> Response:
            form = await _form(request)
            return await asyncio.to_thread(self._done, request, do, form, fresh)

        async def answer(request: Request) -> Response:
            return await self._answer(run(request))

        return answer

    def _done(
        self, request: Request, do: Callable[..., Response], form: "_Form", fresh: bool
    ) -> Response:
        with self._server.database.writing() as session:
            principal = self._principal(session, request, fresh)
            if not accounts.is_same(form.text("csrf"), principal.csrf):
                raise ForbiddenError("this form is of another login: go back and load it anew")
            reply = do(session, principal, request, form)
        self._server.reception.refresh()
        return reply

    async def _answer(self, making: Awaitable[Response]) -> Response:
        try:
            return await making
        except _PasswordWantedError:
            return _to("/password")
        except _LoginWantedError:
            return _to("/login")
        except CommandError as error:
            return self._failed(_status(error), str(error))
        except SQLAlchemyError:
            return self._failed(503, "the database does not answer: try again in a minute")

    def _failed(self, status: int, message: str) -> Response:
        return self._html(self._render("problem.html", message=message, status=status), status)

    def _html(self, text: str, status: int = 200) -> Response:
        return HTMLResponse(text, status, _SECURITY)

    def _render(self, name: str, principal: Principal | None = None, **values: object) -> str:
        return self._templates.get_template(name).render(principal=principal, **values)

    def _principal(self, session: Session, request: Request, fresh: bool) -> Principal:
        address = address_of(request.scope, self._server.options.proxies)
        cookie = request.cookies.get(COOKIE, "")
        principal = accounts.by_cookie(session, cookie, address)
        if principal is None:
            raise _LoginWantedError
        if principal.must_change and not fresh:
            raise _PasswordWantedError
        return principal

    # Logging in and out

    async def _show_login(self, request: Request) -> Response:
        return self._html(self._render("login.html", message=""))

    async def _log_in(self, request: Request) -> Response:
        try:
            form = await _form(request)
            # There is no session yet whose token a form could bring; browsers tell who sent it.
            if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                raise ForbiddenError("log in on the server's own page")
            return await asyncio.to_thread(self._logged_in, request, form)
        except CommandError as error:
            page = self._render("login.html", message=str(error))
            return self._html(page, _status(error))
        except SQLAlchemyError:
            return self._failed(503, "the database does not answer: try again in a minute")

    def _logged_in(self, request: Request, form: "_Form") -> Response:
        name = _plain(form.text("name"))
        address = address_of(request.scope, self._server.options.proxies)
        throttle = self._server.throttle
        if throttle.wait_s(name, address) > 0:
            raise ForbiddenError("too many wrong passwords: wait a minute")
        with self._server.database.writing() as session:
            operator = accounts.check(session, name, form.text("password"))
            if operator is None:
                throttle.fail(name, address)
                raise ForbiddenError("the name or the password is wrong")
            cookie = accounts.open_session(session, operator)
        reply = RedirectResponse("/", 303, _SECURITY)
        is_secure = request.url.scheme == "https" or (
            request.headers.get("x-forwarded-proto") == "https"
        )
        reply.set_cookie(
            COOKIE, cookie, max_age=accounts.SESSION_S, httponly=True, samesite="strict",
            secure=is_secure,
        )  # fmt: skip
        return reply

    def _log_out(self, session: Session, principal: Principal, request: Request, form: "_Form"
                 ) -> Response:  # fmt: skip
        accounts.close_session(session, request.cookies.get(COOKIE, ""))
        reply = RedirectResponse("/login", 303, _SECURITY)
        reply.delete_cookie(COOKIE)
        return reply

    def _show_password(self, session: Session, principal: Principal, request: Request) -> str:
        return self._render("password.html", principal)

    def _change_password(self, session: Session, principal: Principal, request: Request,
                         form: "_Form") -> Response:  # fmt: skip
        if form.text("password") != form.text("again"):
            raise CommandError("the two passwords differ: go back and type them again")
        accounts.change_password(session, principal.operator_id, form.text("password"))
        accounts.note(session, principal, "password changed", principal.name)
        return _to("/login")

    # What there is to see

    def _overview(self, session: Session, principal: Principal, request: Request) -> str:
        rows = session.scalars(sa.select(Rollout).order_by(Rollout.id.desc()).limit(20)).all()
        counted = rollouts.counts(session, [row.id for row in rows])
        shown = [
            (row, counted[row.id], picture.progress(counted[row.id], _reach(session, row)))
            for row in rows
        ]
        return self._render(
            "overview.html",
            principal,
            counts=counting.counted(session),
            rollouts=shown,
            running=picture.versions(counting.versions(session)),
        )

    def _boards(self, session: Session, principal: Principal, request: Request) -> str:
        query = request.query_params
        wanted = {name: _plain(query.get(name, "")) for name in ("q", "state", "group", "after")}
        found = sa.select(Board).where(Board.mac > wanted["after"]).order_by(Board.mac)
        if wanted["q"]:
            text = wanted["q"].replace(":", "").upper()
            found = found.where(
                sa.or_(
                    Board.mac.contains(text, autoescape=True),
                    sa.func.lower(Board.label).contains(wanted["q"].lower(), autoescape=True),
                )
            )
        if wanted["state"]:
            found = found.where(Board.state == wanted["state"])
        if wanted["group"]:
            found = found.where(Board.group_name == wanted["group"])
        rows = session.scalars(found.limit(_PAGE_SIZE + 1)).all()
        shown = rows[:_PAGE_SIZE]
        updating = set(
            session.scalars(
                sa.select(Attempt.board_id).where(
                    Attempt.state == OPEN, Attempt.board_id.in_([row.id for row in shown])
                )
            )
        )
        following = shown[-1].mac if len(rows) > _PAGE_SIZE else ""
        groups = session.scalars(sa.select(Board.group_name).distinct().order_by(Board.group_name))
        return self._render(
            "boards.html", principal, boards=shown, wanted=wanted, following=following,
            updating=updating, groups=[name for name in groups if name],
            states=[str(state) for state in BoardState],
        )  # fmt: skip

    def _board(self, session: Session, principal: Principal, request: Request) -> str:
        board = actions.find_board(session, request.path_params["mac"])
        history = session.scalars(
            sa.select(Attempt)
            .where(Attempt.board_id == board.id)
            .order_by(Attempt.id.desc())
            .limit(_PAGE_SIZE)
        ).all()
        releases = session.scalars(
            sa.select(Release).where(~Release.withdrawn).order_by(Release.id.desc()).limit(200)
        ).all()
        return self._render(
            "board.html", principal, board=board, history=history, releases=releases,
            states=[str(state) for state in BoardState], bad=BAD,
        )  # fmt: skip

    def _releases(self, session: Session, principal: Principal, request: Request) -> str:
        rows = session.scalars(sa.select(Release).order_by(Release.id.desc()).limit(200)).all()
        return self._render("releases.html", principal, releases=rows)

    def _new_rollout(self, session: Session, principal: Principal, request: Request) -> str:
        text = request.query_params.get("release", "")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        return self._render(
            "new_rollout.html", principal, release=actions.find_release(session, number)
        )

    def _rollout(self, session: Session, principal: Principal, request: Request) -> str:
        row = actions.find_rollout(session, request.path_params["number"])
        counts = rollouts.counts(session, [row.id])[row.id]
        latest = session.scalars(
            sa.select(Attempt)
            .where(Attempt.rollout_id == row.id)
            .order_by(Attempt.id.desc())
            .limit(_PAGE_SIZE)
        ).all()
        return self._render(
            "rollout.html",
            principal,
            rollout=row,
            counts=counts,
            progress=picture.progress(counts, _reach(session, row)),
            bars=picture.over_time(counting.endings(session, row.id)),
            reasons=counting.reasons(session, row.id),
            attempts=latest,
            can_pause=row.state in (
                RolloutState.SCHEDULED, RolloutState.RUNNING, RolloutState.COMPLETE,
            ),
            can_resume=row.state == RolloutState.PAUSED,
        )  # fmt: skip

    def _audit(self, session: Session, principal: Principal, request: Request) -> str:
        actions.demand(principal, accounts.ADMIN)
        rows = session.scalars(sa.select(Audit).order_by(Audit.id.desc()).limit(200)).all()
        return self._render("audit.html", principal, entries=rows)

    # What can be done

    def _change_board(self, session: Session, principal: Principal, request: Request,
                      form: "_Form") -> Response:  # fmt: skip
        board = actions.find_board(session, request.path_params["mac"])
        if form.text("do") == "retry":
            actions.retry(session, principal, board)
        elif form.text("do") == "state":
            state = form.choice("state", [str(state) for state in BoardState])
            actions.change_board(session, principal, board, state=state)
        else:
            pin = form.number("pin")
            actions.change_board(
                session, principal, board,
                state=form.choice("state", [str(state) for state in BoardState]),
                label=form.label("label", 64),
                group_name=form.label("group"),
                channel=form.label("channel") or decision.DEFAULT_CHANNEL,
                pin_id=pin,
            )  # fmt: skip
        back = form.text("back")
        return _to(back if back.startswith("/boards") else f"/boards/{board.mac}")

    def _add_release(self, session: Session, principal: Principal, request: Request,
                     form: "_Form") -> Response:  # fmt: skip
        described = actions.describe(
            principal, form.file, self._server.keys, application=form.label("application"),
            version=form.label("version"),
        )  # fmt: skip
        actions.add_release(
            session, principal, self._server.images, form.file, described,
            form.label("channel") or decision.DEFAULT_CHANNEL, "",
        )  # fmt: skip
        return _to("/releases")

    def _change_release(self, session: Session, principal: Principal, request: Request,
                        form: "_Form") -> Response:  # fmt: skip
        release = actions.find_release(session, request.path_params["number"])
        withdrawn = form.text("do") == "withdraw"
        actions.change_release(session, principal, release, withdrawn=withdrawn)
        return _to("/releases")

    def _start_rollout(self, session: Session, principal: Principal, request: Request,
                       form: "_Form") -> Response:  # fmt: skip
        release = actions.find_release(session, form.number("release") or 0)
        share = form.decimal("percent", 100.0)
        phases = [decision.Phase(share, 60 * form.decimal("soak_min", 0.0))]
        if share < 100:
            phases.append(decision.Phase())
        made = decision.Rollout(
            id=0,
            release_id=release.id,
            phases=tuple(phases),
            groups=frozenset({form.label("group")} - {""}),
            downloads_at_once=form.number("at_once"),
            abort_share=form.decimal("abort_percent", 20.0) / 100,
            abort_minimum=form.number("abort_minimum") or 5,
        )
        rollout = actions.start_rollout(session, principal, release, made)
        return _to(f"/rollouts/{rollout.id}")

    def _move_rollout(self, session: Session, principal: Principal, request: Request,
                      form: "_Form") -> Response:  # fmt: skip
        rollout = actions.find_rollout(session, request.path_params["number"], lock=True)
        move = form.choice("do", list(actions.MOVES))
        actions.move_rollout(session, principal, rollout, move)
        return _to(f"/rollouts/{rollout.id}")

    # News

    async def _events(self, request: Request) -> Response:
        def look() -> tuple[object, ...]:
            with self._server.database.reading() as session:
                self._principal(session, request, fresh=False)
                return counting.news(session)

        async def events() -> AsyncIterator[str]:
            before = await asyncio.to_thread(look)
            yield "retry: 5000\n\n"
            worker = self._server.worker
            while worker and not worker.ending.is_set():
                try:
                    await asyncio.wait_for(worker.ending.wait(), _NEWS_S)
                except TimeoutError:
                    now = await asyncio.to_thread(look)
                    # A line of comment shows that the connection is still there.
                    yield ": \n\n" if now == before else "event: news\ndata: 1\n\n"
                    before = now

        try:
            await asyncio.to_thread(look)
        except (_LoginWantedError, _PasswordWantedError):
            return Response(status_code=401)
        except SQLAlchemyError:
            return Response(status_code=503)
        return StreamingResponse(
            events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )


class _PasswordWantedError(_LoginWantedError):
    """Whoever asks must choose another password first."""


class _Form:
    """What a form has brought."""

    def __init__(self, values: dict[str, str], file: bytes = b"") -> None:
        self._values = values
        self.file = file

    def text(self, name: str) -> str:
        """Give a text."""
        return self._values.get(name, "")

    def label(self, name: str, limit: int = 32) -> str:
        """Give a short text. Raises CommandError."""
        text = self.text(name).strip()
        if len(text) > limit or not text.isprintable():
            raise CommandError(f"{name} has {limit} characters at most, without control characters")
        return text

    def choice(self, name: str, values: list[str]) -> str:
        """Give one of *values*. Raises CommandError."""
        if self.text(name) not in values:
            raise CommandError(f"{name} is one of {', '.join(values)}")
        return self.text(name)

    def number(self, name: str) -> int | None:
        """Give a whole number, None for nothing. Raises CommandError."""
        text = self.text(name).strip()
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise CommandError(f"{name} must be a whole number")
        return int(text)

    def decimal(self, name: str, default: float) -> float:
        """Give a number. Raises CommandError."""
        text = self.text(name).strip()
        try:
            number = float(text) if text else default
        except ValueError:
            number = -1.0
        if not 0 <= number < 1e9:
            raise CommandError(f"{name} must be a number, not below 0")
        return number


async def _form(request: Request) -> _Form:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > _FORM_LIMIT:
            raise TooLargeError(f"more than {_FORM_LIMIT} bytes are not taken here")
        async with request.form(max_files=1, max_fields=20) as given:
            file = given.get("image")
            data = b"" if file is None or isinstance(file, str) else await file.read()
            return _Form({k: v for k, v in given.items() if isinstance(v, str)}, data)
    data = await read_body(request, 64 << 10)
    try:
        return _Form(dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=40)))
    except ValueError as error:
        raise CommandError("this is no form") from error


def _to(path: str) -> Response:
    return RedirectResponse(path, 303, _SECURITY)


def _status(error: CommandError) -> int:
    kinds = {ForbiddenError: 403, NotFoundError: 404, ConflictError: 409, TooLargeError: 413}
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), 400)


def _plain(text: str) -> str:
    # PostgreSQL keeps no NUL, and nothing that is looked for has control characters.
    return "".join(char for char in text[:64] if char.isprintable())


def _reach(session: Session, row: Rollout) -> int:
    # How many boards the roll-out is for in the end.
    counted = sa.select(sa.func.count()).where(
        Board.application == row.release.application,
        Board.channel == row.release.channel,
        Board.state == BoardState.ACCEPTED,
    )
    if row.groups:
        counted = counted.where(Board.group_name.in_(row.groups))
    return session.scalar(counted) or 0


def _ago(moment: float | None) -> str:
    if moment is None:
        return "never"
    seconds = max(0, int(time.time() - moment))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def _moment(moment: float | None) -> str:
    return "" if moment is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def _mac(mac: str) -> str:
    return ":".join(mac[at : at + 2] for at in range(0, len(mac), 2))


def _bytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1024:.1f} KB"
