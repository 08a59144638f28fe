"""The API for programs, at /api: how a request becomes a call of an operation, and its answer."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mpota.errors import CommandError
from mpota.server import accounts, actions, releases, shapes
from mpota.server.accounts import Principal
from mpota.server.errors import (
    DatabaseError,
    MeanwhileError,
    MethodError,
    RefusedError,
    UnauthorizedError,
)
from mpota.server.openapi import openapi
from mpota.server.operations import NOBODY, OPERATIONS, Call, Operation
from mpota.server.requests import address_of, read_body

if TYPE_CHECKING:
    from mpota.server.app import Server

PREFIX = "/api"
_BODY_LIMIT = 1 << 20  # bytes of JSON
_UPLOAD_LIMIT = releases.SKETCH_LIMIT_BYTES
_METHODS = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "QUERY"]
_log = logging.getLogger("mpota.api")


def routes(server: "Server") -> list[BaseRoute]:
    """Return the routes of the API, relative to PREFIX."""
    paths: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = operation
    return [
        *(Route(p, _endpoint(server, of), methods=_METHODS) for p, of in paths.items()),
        Route("/openapi.json", _description),
    ]


def failed(error: CommandError) -> Response:
    """Return the answer to a call that *error* has ended."""
    problem = error if isinstance(error, RefusedError) else RefusedError(str(error))
    headers = {}
    match problem:
        case UnauthorizedError():
            headers["WWW-Authenticate"] = "Bearer"
        case MethodError():
            headers["Allow"] = problem.allowed
        case DatabaseError():
            headers["Retry-After"] = "60"
    return _json(shapes.Problem(problem.name, str(problem)), problem.status, headers)


async def _description(request: Request) -> Response:
    return _json(openapi())


def _endpoint(server: "Server", by_method: dict[str, Operation]) -> Any:
    async def answer(request: Request) -> Response:
        try:
            operation = by_method.get(request.method)
            if operation is None:
                raise MethodError(", ".join(by_method))
            given = await _given(server, operation, request)
        except CommandError as error:
            return failed(error)
        except IntegrityError:
            return failed(MeanwhileError())
        except SQLAlchemyError as error:
            _log.error("the database does not answer: %s", error)
            return failed(DatabaseError())
        return Response(status_code=204) if operation.gives is None else _json(given)

    return answer


async def _given(server: "Server", operation: Operation, request: Request) -> Any:
    query = _query(operation, request)
    address = address_of(request.scope, server.options.proxies)
    if operation.scope == NOBODY:
        data = await read_body(request, _BODY_LIMIT)
        body = _body(operation, request, data)
        operator = await server.logins.check(body.name, body.password, address)
        principal = accounts.principal_of(operator, address)
    else:  # the body is not read of somebody without a good token
        principal = await asyncio.to_thread(_by_token, server, operation, request, address)
        limit = _UPLOAD_LIMIT if operation.is_upload else _BODY_LIMIT
        data = await read_body(request, limit)
        body = data if operation.is_upload else _body(operation, request, data)
    path = dict(request.path_params)
    return await asyncio.to_thread(_call, server, operation, principal, path, query, body)


def _by_token(server: "Server", operation: Operation, request: Request, address: str) -> Principal:
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
        raise CommandError("the query has a name twice")
    known = operation.query.__struct_fields__ if operation.query else ()
    for name in told:
        if name not in known:
            raise CommandError(f"the query has {name[:40]!r}, which this operation does not know")
    if operation.query is None:
        return None
    try:
        return msgspec.convert(told, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise CommandError(f"the query is wrong: {error}") from error


def _body(operation: Operation, request: Request, data: bytes) -> Any:
    if operation.body is None:
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise CommandError("the body must be JSON, with Content-Type: application/json")
    try:
        return msgspec.json.decode(data, type=operation.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"the body is wrong: {error}") from error


def _json(given: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    data = msgspec.json.encode(given)
    all_headers = {"Cache-Control": "no-store"} | (headers or {})
    return Response(data, status, all_headers, "application/json")
