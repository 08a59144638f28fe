"""The API for programs, at /api: a table of operations, from which its OpenAPI is made as well."""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mpota.errors import CommandError
from mpota.server import accounts, actions, releases, rollouts, shapes
from mpota.server import decision as d
from mpota.server.accounts import ADMIN, BOARDS, READ, RELEASES, ROLLOUTS, Principal
from mpota.server.actions import ForbiddenError, NotFoundError
from mpota.server.database import Attempt, Audit, Board, Operator, Release, Rollout, Token
from mpota.server.releases import ConflictError
from mpota.server.update import address_of

if TYPE_CHECKING:
    from mpota.server.app import Server

_BODY_LIMIT = 1 << 20  # bytes of JSON
_UPLOAD_LIMIT = releases.SKETCH_LIMIT_BYTES
_LIST_LIMIT = 200
_log = logging.getLogger("mpota.api")


class UnauthorizedError(CommandError):
    """Say that a token is missing, or no good."""


class TooLargeError(CommandError):
    """Say that more was sent than is taken."""


class TooManyError(CommandError):
    """Say that too many wrong passwords were given."""


_STATUS: dict[type[CommandError], tuple[int, str]] = {
    UnauthorizedError: (401, "unauthorized"),
    ForbiddenError: (403, "forbidden"),
    NotFoundError: (404, "not found"),
    ConflictError: (409, "conflict"),
    TooLargeError: (413, "too large"),
    TooManyError: (429, "too many"),
}


@dataclass
class Call:
    """A call of an operation: who calls, what the path, the query and the body say."""

    server: "Server"
    session: Session
    principal: Principal
    path: dict[str, str]
    query: Any
    body: Any

    @property
    def number(self) -> int:
        """The number in the path."""
        text = self.path["number"]
        if not re.fullmatch("[1-9][0-9]{0,8}", text):
            raise NotFoundError(f"there is nothing of the number {text[:20]}")
        return int(text)


@dataclass(frozen=True)
class Operation:
    """An operation: its method and path, the scope that it needs, what it takes and gives."""

    method: str
    path: str
    scope: str
    handle: Callable[[Call], Any]
    gives: Any
    query: Any = None
    body: Any = None
    is_upload: bool = False

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        return (self.handle.__doc__ or "").strip()


class BoardsQuery(msgspec.Struct):
    """Which boards are listed."""

    after: shapes.Text = ""
    limit: shapes.Limit = 100
    state: shapes.State | None = None
    group: shapes.NameOrNone | None = None
    application: shapes.NameOrNone | None = None
    version: shapes.Text | None = None


def list_boards(call: Call) -> shapes.BoardList:
    """List boards."""
    query: BoardsQuery = call.query
    found = sa.select(Board).where(Board.mac > query.after).order_by(Board.mac)
    for column, value in (
        (Board.state, query.state),
        (Board.group_name, query.group),
        (Board.application, query.application),
        (Board.version, query.version),
    ):
        if value is not None:
            found = found.where(column == value)
    rows = call.session.scalars(found.limit(query.limit + 1)).all()
    following = rows[query.limit - 1].mac if len(rows) > query.limit else None
    return shapes.BoardList([shapes.board(row) for row in rows[: query.limit]], following)


def get_board(call: Call) -> shapes.BoardShape:
    """Tell all of a board."""
    return shapes.board(actions.find_board(call.session, call.path["mac"]))


def add_board(call: Call) -> shapes.BoardShape:
    """Name a board before it asks; it is accepted."""
    body: shapes.NewBoard = call.body
    board = actions.add_board(call.session, call.principal, body.mac, **body.columns())
    return shapes.board(board)


def change_board(call: Call) -> shapes.BoardShape:
    """Change what a board may have."""
    board = actions.find_board(call.session, call.path["mac"])
    actions.change_board(call.session, call.principal, board, **call.body.columns())
    return shapes.board(board)


def change_boards(call: Call) -> shapes.Changed:
    """Change what several boards may have: all of them, or none where one is not known."""
    body: shapes.BoardsChange = call.body
    for mac in body.macs:
        board = actions.find_board(call.session, mac)
        actions.change_board(call.session, call.principal, board, **body.columns())
    return shapes.Changed(len(body.macs))


def remove_board(call: Call) -> None:
    """Forget a board and its history."""
    board = actions.find_board(call.session, call.path["mac"])
    actions.remove_board(call.session, call.principal, board)


def new_secret(call: Call) -> shapes.BoardSecret:
    """Give a board a secret of its own, which it must tell from now on."""
    board = actions.find_board(call.session, call.path["mac"])
    return shapes.BoardSecret(board.mac, actions.new_secret(call.session, call.principal, board))


def forget_secret(call: Call) -> None:
    """Take a board's own secret away."""
    board = actions.find_board(call.session, call.path["mac"])
    actions.forget_secret(call.session, call.principal, board)


def retry(call: Call) -> shapes.Changed:
    """Let a board have again what failed there."""
    board = actions.find_board(call.session, call.path["mac"])
    return shapes.Changed(actions.retry(call.session, call.principal, board))


def board_history(call: Call) -> shapes.AttemptList:
    """Tell what a board was given, and how that ended."""
    board = actions.find_board(call.session, call.path["mac"])
    found = sa.select(Attempt).where(Attempt.board_id == board.id).order_by(Attempt.id.desc())
    rows = call.session.scalars(found.limit(_LIST_LIMIT))
    return shapes.AttemptList([shapes.attempt(row) for row in rows])


def list_releases(call: Call) -> shapes.ReleaseList:
    """List releases."""
    rows = call.session.scalars(sa.select(Release).order_by(Release.id.desc()).limit(_LIST_LIMIT))
    return shapes.ReleaseList([shapes.release(row) for row in rows])


def get_release(call: Call) -> shapes.ReleaseShape:
    """Tell all of a release."""
    return shapes.release(actions.find_release(call.session, call.number))


def add_release(call: Call) -> shapes.ReleaseShape:
    """Upload an image; the body is the file itself."""
    query: shapes.UploadQuery = call.query
    described = actions.describe(
        call.principal,
        call.body,
        call.server.keys,
        application=query.application,
        version=query.version,
        sequence=query.sequence,
    )
    release = actions.add_release(
        call.session, call.principal, call.server.images, call.body, described, query.channel,
        query.notes,
    )  # fmt: skip
    call.session.refresh(release)
    return shapes.release(release)


def change_release(call: Call) -> shapes.ReleaseShape:
    """Move a release to another channel, or withdraw it."""
    release = actions.find_release(call.session, call.number)
    actions.change_release(call.session, call.principal, release, **call.body.columns())
    return shapes.release(release)


def _shape(call: Call, row: Rollout) -> shapes.RolloutShape:
    call.session.flush()
    return shapes.rollout(row, rollouts.counts(call.session, [row.id])[row.id])


def list_rollouts(call: Call) -> shapes.RolloutList:
    """List roll-outs."""
    rows = call.session.scalars(
        sa.select(Rollout).order_by(Rollout.id.desc()).limit(_LIST_LIMIT)
    ).all()
    counted = rollouts.counts(call.session, [row.id for row in rows])
    return shapes.RolloutList([shapes.rollout(row, counted[row.id]) for row in rows])


def get_rollout(call: Call) -> shapes.RolloutShape:
    """Tell all of a roll-out."""
    return _shape(call, actions.find_rollout(call.session, call.number))


def start_rollout(call: Call) -> shapes.RolloutShape:
    """Begin a roll-out."""
    body: shapes.NewRollout = call.body
    release = actions.find_release(call.session, body.release)
    made = d.Rollout(
        id=0,
        release_id=release.id,
        phases=tuple(
            d.Phase(p.percent, p.soak_s, p.needed, frozenset(p.groups)) for p in body.phases
        ),
        groups=frozenset(body.groups),
        starts_at=body.starts_at,
        downloads_at_once=body.downloads_at_once,
        downloads_per_minute=body.downloads_per_minute,
        abort_share=body.abort_share,
        abort_minimum=body.abort_minimum,
        tries=body.tries,
        timeout_s=body.timeout_s,
    )
    return _shape(call, actions.start_rollout(call.session, call.principal, release, made))


def _moving(move: str, text: str) -> Callable[[Call], shapes.RolloutShape]:
    def handle(call: Call) -> shapes.RolloutShape:
        rollout = actions.find_rollout(call.session, call.number, lock=True)
        actions.move_rollout(call.session, call.principal, rollout, move)
        return _shape(call, rollout)

    handle.__doc__, handle.__name__ = text, f"{move}_rollout"
    return handle


def rollout_attempts(call: Call) -> shapes.AttemptList:
    """Tell which boards a roll-out has come to, and how that ended, the newest first."""
    rollout = actions.find_rollout(call.session, call.number)
    found = sa.select(Attempt).where(Attempt.rollout_id == rollout.id).order_by(Attempt.id.desc())
    rows = call.session.scalars(found.limit(_LIST_LIMIT))
    return shapes.AttemptList([shapes.attempt(row) for row in rows])


def list_tokens(call: Call) -> shapes.TokenList:
    """List all tokens."""
    rows = call.session.scalars(sa.select(Token).order_by(Token.id).limit(_LIST_LIMIT))
    return shapes.TokenList([shapes.token(row) for row in rows])


def add_token(call: Call) -> shapes.TokenText:
    """Make a token, which may do no more than its operator."""
    return _new_token(call, call.principal, call.body)


def _new_token(call: Call, principal: Principal, body: shapes.NewToken) -> shapes.TokenText:
    scopes: list[str] = list(body.scopes)
    row, text = accounts.add_token(call.session, principal, body.name, scopes, body.days)
    accounts.note(call.session, principal, "token made", body.name, ", ".join(scopes))
    return shapes.TokenText(
        row.id, row.name, principal.name, scopes, row.created, row.expires, text
    )


def log_in(call: Call) -> shapes.TokenText:
    """Exchange an operator's name and password for a token."""
    body: shapes.Login = call.body
    address = call.principal.address
    throttle = call.server.throttle
    if throttle.wait_s(body.name, address) > 0:
        raise TooManyError("too many wrong passwords: wait a minute")
    operator = accounts.check(call.session, body.name, body.password)
    if operator is None:
        throttle.fail(body.name, address)
        raise UnauthorizedError("the name or the password is wrong")
    principal = Principal(operator.id, operator.name, frozenset(operator.scopes), address)
    return _new_token(call, principal, body.token)


def remove_token(call: Call) -> None:
    """Take a token away."""
    token = call.session.get(Token, call.number)
    if token is None:
        raise NotFoundError(f"there is no token {call.number}")
    call.session.delete(token)
    accounts.note(call.session, call.principal, "token taken away", token.name)


def list_operators(call: Call) -> shapes.OperatorList:
    """List everybody who may log in."""
    rows = call.session.scalars(sa.select(Operator).order_by(Operator.name).limit(_LIST_LIMIT))
    return shapes.OperatorList([shapes.operator(row) for row in rows])


def add_operator(call: Call) -> shapes.OperatorShape:
    """Let somebody log in."""
    body: shapes.NewOperator = call.body
    row = accounts.add_operator(
        call.session, body.name, body.password, list(body.scopes), must_change=True
    )
    accounts.note(call.session, call.principal, "operator added", body.name)
    return shapes.operator(row)


def remove_operator(call: Call) -> None:
    """Let somebody no longer log in; their tokens are gone as well."""
    name = call.path["name"]
    row = call.session.scalar(sa.select(Operator).where(Operator.name == name))
    if row is None:
        raise NotFoundError(f"there is no operator {name[:64]}")
    if row.id == call.principal.operator_id:
        raise ConflictError("nobody can remove themselves")
    call.session.execute(sa.delete(Operator).where(Operator.id == row.id))
    accounts.note(call.session, call.principal, "operator removed", name)


def list_audit(call: Call) -> shapes.AuditList:
    """Tell what operators have done, and the server by itself."""
    rows = call.session.scalars(sa.select(Audit).order_by(Audit.id.desc()).limit(_LIST_LIMIT))
    return shapes.AuditList([shapes.audit(row) for row in rows])


_NOBODY = ""  # the scope of an operation that needs no token
OPERATIONS = (
    Operation("GET", "/boards", READ, list_boards, shapes.BoardList, query=BoardsQuery),
    Operation("POST", "/boards", BOARDS, add_board, shapes.BoardShape, body=shapes.NewBoard),
    Operation("PATCH", "/boards", BOARDS, change_boards, shapes.Changed, body=shapes.BoardsChange),
    Operation("GET", "/boards/{mac}", READ, get_board, shapes.BoardShape),
    Operation("PATCH", "/boards/{mac}", BOARDS, change_board, shapes.BoardShape,
              body=shapes.BoardChange),
    Operation("DELETE", "/boards/{mac}", BOARDS, remove_board, None),
    Operation("POST", "/boards/{mac}/secret", BOARDS, new_secret, shapes.BoardSecret),
    Operation("DELETE", "/boards/{mac}/secret", BOARDS, forget_secret, None),
    Operation("POST", "/boards/{mac}/retry", BOARDS, retry, shapes.Changed),
    Operation("GET", "/boards/{mac}/history", READ, board_history, shapes.AttemptList),
    Operation("GET", "/releases", READ, list_releases, shapes.ReleaseList),
    Operation("POST", "/releases", RELEASES, add_release, shapes.ReleaseShape,
              query=shapes.UploadQuery, is_upload=True),
    Operation("GET", "/releases/{number}", READ, get_release, shapes.ReleaseShape),
    Operation("PATCH", "/releases/{number}", RELEASES, change_release, shapes.ReleaseShape,
              body=shapes.ReleaseChange),
    Operation("GET", "/rollouts", READ, list_rollouts, shapes.RolloutList),
    Operation("POST", "/rollouts", ROLLOUTS, start_rollout, shapes.RolloutShape,
              body=shapes.NewRollout),
    Operation("GET", "/rollouts/{number}", READ, get_rollout, shapes.RolloutShape),
    Operation("GET", "/rollouts/{number}/attempts", READ, rollout_attempts, shapes.AttemptList),
    Operation("POST", "/rollouts/{number}/pause", ROLLOUTS,
              _moving("pause", "Hold a roll-out."), shapes.RolloutShape),
    Operation("POST", "/rollouts/{number}/resume", ROLLOUTS,
              _moving("resume", "Let a paused roll-out go on."), shapes.RolloutShape),
    Operation("POST", "/rollouts/{number}/cancel", ROLLOUTS,
              _moving("cancel", "End a roll-out for good."), shapes.RolloutShape),
    Operation("GET", "/tokens", ADMIN, list_tokens, shapes.TokenList),
    Operation("POST", "/tokens", ADMIN, add_token, shapes.TokenText, body=shapes.NewToken),
    Operation("POST", "/login", _NOBODY, log_in, shapes.TokenText, body=shapes.Login),
    Operation("DELETE", "/tokens/{number}", ADMIN, remove_token, None),
    Operation("GET", "/operators", ADMIN, list_operators, shapes.OperatorList),
    Operation("POST", "/operators", ADMIN, add_operator, shapes.OperatorShape,
              body=shapes.NewOperator),
    Operation("DELETE", "/operators/{name}", ADMIN, remove_operator, None),
    Operation("GET", "/audit", ADMIN, list_audit, shapes.AuditList),
)  # fmt: skip


def routes(server: "Server") -> list[BaseRoute]:
    """Give the routes of the API."""
    paths: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = operation

    def endpoint(by_method: dict[str, Operation]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            operation = by_method.get(request.method)
            if operation is None:
                allowed = ", ".join(by_method)
                return _problem(405, "method", f"here is {allowed}", {"Allow": allowed})
            return await _answer(server, operation, request)

        return answer

    methods = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "QUERY"]
    made: list[BaseRoute] = [
        Route(path, endpoint(by_method), methods=methods) for path, by_method in paths.items()
    ]

    async def description(request: Request) -> Response:
        return _json(openapi())

    async def nothing(request: Request) -> Response:
        return _problem(404, "not found", "there is nothing of this name in the API")

    return [*made, Route("/openapi.json", description), Route("/{rest:path}", nothing,
                                                              methods=methods)]  # fmt: skip


async def _answer(server: "Server", operation: Operation, request: Request) -> Response:
    try:
        address = address_of(request.scope, server.options.proxies)
        query = _query(operation, request)
        limit = _UPLOAD_LIMIT if operation.is_upload else _BODY_LIMIT
        principal = await asyncio.to_thread(_principal, server, operation, request, address)
        data = await read_body(request, limit)
        body = data if operation.is_upload else _body(operation, request, data)
        given = await asyncio.to_thread(
            _call, server, operation, principal, dict(request.path_params), query, body
        )
    except CommandError as error:
        return _failed(error)
    except SQLAlchemyError as error:
        _log.error("the database did not answer: %s", error)
        message = "the database did not answer: try again in a minute"
        return _problem(503, "unavailable", message, {"Retry-After": "60"})
    if operation.gives is None:
        return Response(status_code=204)
    return _json(given)


def _principal(server: "Server", operation: Operation, request: Request, address: str) -> Principal:
    if operation.scope == _NOBODY:
        return Principal(0, "", frozenset(), address)
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text:
        raise UnauthorizedError("a token is needed: Authorization: Bearer TOKEN")
    with server.database.reading() as session:
        principal = accounts.by_token(session, text.strip(), address)
    if principal is None:
        raise UnauthorizedError("this token is not known, or its time is over")
    actions.demand(principal, operation.scope)
    return principal


def _call(
    server: "Server",
    operation: Operation,
    principal: Principal,
    path: dict[str, str],
    query: Any,
    body: Any,
) -> Any:
    database = server.database
    transaction = database.reading() if operation.method == "GET" else database.writing()
    with transaction as session:
        given = operation.handle(Call(server, session, principal, path, query, body))
    if operation.method != "GET":
        server.reception.refresh()
    return given


def _query(operation: Operation, request: Request) -> Any:
    told = dict(request.query_params)
    if len(told) != len(request.query_params.multi_items()):
        raise CommandError("a name stands twice in the query")
    known = operation.query.__struct_fields__ if operation.query else ()
    for name in told:
        if name not in known:
            raise CommandError(f"the query has {name[:40]!r}, which is not known here")
    if operation.query is None:
        return None
    try:
        return msgspec.convert(told, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise CommandError(f"the query is not as it should be: {error}") from error


async def read_body(request: Request, limit: int) -> bytes:
    """Read a request's body. Raises TooLargeError where it has more than *limit* bytes."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLargeError(f"more than {limit} bytes are not taken here")
        chunks.append(chunk)
    return b"".join(chunks)


def _body(operation: Operation, request: Request, data: bytes) -> Any:
    if operation.body is None:
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise CommandError("the body must be JSON, with Content-Type: application/json")
    try:
        return msgspec.json.decode(data, type=operation.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"the body is not as it should be: {error}") from error


def _failed(error: CommandError) -> Response:
    for kind, (status, name) in _STATUS.items():
        if isinstance(error, kind):
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            return _problem(status, name, str(error), headers)
    return _problem(400, "invalid", str(error))


def _json(given: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    data = msgspec.json.encode(given)
    return Response(data, status, {"Cache-Control": "no-store"} | (headers or {}),
                    "application/json")  # fmt: skip


def _problem(
    status: int, error: str, message: str, headers: dict[str, str] | None = None
) -> Response:
    return _json(shapes.Problem(error, message), status, headers)


def openapi() -> dict[str, Any]:
    """Give the description of the API, in OpenAPI 3.1."""
    kinds = {o.gives for o in OPERATIONS} | {o.body for o in OPERATIONS} | {shapes.Problem}
    kinds |= {o.query for o in OPERATIONS}
    ordered = sorted((kind for kind in kinds if kind), key=lambda kind: str(kind.__name__))
    schemas, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    by_kind = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        described: dict[str, Any] = {
            "operationId": operation.handle.__name__,
            "summary": operation.summary,
            "parameters": _parameters(operation, components),
            "responses": {
                "default": {
                    "description": "Why it was not done.",
                    "content": {"application/json": {"schema": by_kind[shapes.Problem]}},
                }
            },
        }
        if operation.gives is None:
            described["responses"]["204"] = {"description": "It is done."}
        else:
            described["responses"]["200"] = {
                "description": "What was asked for.",
                "content": {"application/json": {"schema": by_kind[operation.gives]}},
            }
        if operation.is_upload:
            content = {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            }
            described["requestBody"] = {"required": True, "content": content}
        elif operation.body:
            content = {"application/json": {"schema": by_kind[operation.body]}}
            described["requestBody"] = {"required": True, "content": content}
        if operation.scope:
            described["security"] = [{"token": []}]
            described["description"] = f"Needs the scope {operation.scope}."
        paths.setdefault(f"/api{operation.path}", {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "mpota serve", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    kinds: dict[str, Any] = {
        "mac": {"type": "string", "pattern": "^[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}$"},
        "number": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
        "name": {"type": "string", "pattern": "^[!-.0-~]{1,32}$"},
    }
    made = [
        {"name": name, "in": "path", "required": True, "schema": kinds[name]}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    if operation.query:
        for name, schema in components[operation.query.__name__]["properties"].items():
            schema = {key: value for key, value in schema.items() if key != "default"}
            if "anyOf" in schema:  # None is that it is left out
                (schema,) = [kind for kind in schema["anyOf"] if kind.get("type") != "null"]
            made.append({"name": name, "in": "query", "required": False, "schema": schema})
    return made
