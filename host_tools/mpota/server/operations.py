"""The operations of the API: for each its method, its path, who may call it, and what it does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType
from sqlalchemy.orm import Session

from mpota.server import accounts, actions, rollouts, shapes
from mpota.server import decision as d
from mpota.server.accounts import ADMIN, BOARDS, READ, RELEASES, ROLLOUTS, Principal
from mpota.server.database import Attempt, Audit, Board, Operator, Release, Rollout, Token
from mpota.server.errors import ConflictError, NewPasswordError, NotFoundError

if TYPE_CHECKING:
    from mpota.server.app import Server

_LIST_LIMIT = 200
_Row = TypeVar("_Row", Attempt, Audit, Release, Rollout, Token)


@dataclass
class Call:
    """A call of an operation: who calls it, and what the path, the query and the body say."""

    server: "Server"
    session: Session
    principal: Principal
    path: dict[str, str]
    query: Any
    body: Any

    @property
    def number(self) -> int:
        """The number in the path."""
        return actions.number_of(self.path["number"])


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
        """What the operation does, in a line."""
        return (self.handle.__doc__ or "").strip()


class BoardsQuery(msgspec.Struct):
    """Which boards `list_boards` lists; *after* is the MAC address before the first."""

    after: shapes.Text = ""
    limit: shapes.Limit = 100
    state: shapes.State | UnsetType = UNSET
    group: shapes.NameOrNone | UnsetType = UNSET
    application: shapes.NameOrNone | UnsetType = UNSET
    version: shapes.Text | UnsetType = UNSET


class ListQuery(msgspec.Struct, kw_only=True):
    """Which part of a list is wanted: so many entries *before* the one with that id."""

    before: shapes.Number | UnsetType = UNSET
    limit: shapes.Limit = _LIST_LIMIT


class ReleasesQuery(ListQuery):
    """Which releases `list_releases` lists."""

    application: shapes.Name | UnsetType = UNSET
    version: shapes.Name | UnsetType = UNSET


class AttemptsQuery(ListQuery):
    """Which updates are listed."""

    state: shapes.AttemptState | UnsetType = UNSET


def _page(
    call: Call, of: type[_Row], *conditions: sa.ColumnElement[bool]
) -> tuple[Sequence[_Row], int | None]:
    # Returns the newest rows that the query wants, and where the following page begins.
    query: ListQuery = call.query
    found = sa.select(of).where(*conditions).order_by(of.id.desc())
    if query.before is not UNSET:
        found = found.where(of.id < query.before)
    rows = call.session.scalars(found.limit(query.limit + 1)).all()
    shown = rows[: query.limit]
    return shown, shown[-1].id if len(rows) > len(shown) else None


def _attempts(call: Call, *conditions: sa.ColumnElement[bool]) -> shapes.AttemptList:
    query: AttemptsQuery = call.query
    if query.state is not UNSET:
        conditions = (*conditions, Attempt.state == query.state)
    rows, following = _page(call, Attempt, *conditions)
    return shapes.AttemptList([shapes.attempt(row) for row in rows], following)


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
        if value is not UNSET:
            found = found.where(column == value)
    rows = call.session.scalars(found.limit(query.limit + 1)).all()
    following = rows[query.limit - 1].mac if len(rows) > query.limit else None
    return shapes.BoardList([shapes.board(row) for row in rows[: query.limit]], following)


def get_board(call: Call) -> shapes.BoardShape:
    """Show all that is known of a board."""
    return shapes.board(actions.find_board(call.session, call.path["mac"]))


def add_board(call: Call) -> shapes.BoardShape:
    """Accept a board before it asks for the first time."""
    body: shapes.NewBoard = call.body
    board = actions.add_board(call.session, call.principal, body.mac, **body.columns())
    return shapes.board(board)


def change_board(call: Call) -> shapes.BoardShape:
    """Change what a board may have."""
    board = actions.find_board(call.session, call.path["mac"])
    actions.change_board(call.session, call.principal, board, **call.body.columns())
    return shapes.board(board)


def change_boards(call: Call) -> shapes.Changed:
    """Change what several boards may have. Where one of them is not known, none is changed."""
    body: shapes.BoardsChange = call.body
    boards = actions.find_boards(call.session, body.macs)
    actions.change_boards(call.session, call.principal, boards, **body.columns())
    return shapes.Changed(len(boards))


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


def retry(call: Call) -> shapes.Retried:
    """Offer a board again what has failed on it, but for what the board itself has taken back."""
    board = actions.find_board(call.session, call.path["mac"])
    return shapes.Retried(*actions.retry(call.session, call.principal, board))


def board_history(call: Call) -> shapes.AttemptList:
    """List the updates that a board was given, and how each of them ended."""
    board = actions.find_board(call.session, call.path["mac"])
    return _attempts(call, Attempt.board_id == board.id)


def list_releases(call: Call) -> shapes.ReleaseList:
    """List releases."""
    query: ReleasesQuery = call.query
    wanted = (("application", query.application), ("version", query.version))
    conditions = [getattr(Release, name) == value for name, value in wanted if value is not UNSET]
    rows, following = _page(call, Release, *conditions)
    return shapes.ReleaseList([shapes.release(row) for row in rows], following)


def get_release(call: Call) -> shapes.ReleaseShape:
    """Show all that is known of a release."""
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
    rows, following = _page(call, Rollout)
    counted = rollouts.counts(call.session, [row.id for row in rows])
    return shapes.RolloutList([shapes.rollout(row, counted[row.id]) for row in rows], following)


def get_rollout(call: Call) -> shapes.RolloutShape:
    """Show all that is known of a roll-out."""
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
    """List the updates of a roll-out, and how each of them ended, the newest first."""
    rollout = actions.find_rollout(call.session, call.number)
    return _attempts(call, Attempt.rollout_id == rollout.id)


def list_tokens(call: Call) -> shapes.TokenList:
    """List tokens."""
    rows, following = _page(call, Token)
    return shapes.TokenList([shapes.token(row) for row in rows], following)


def add_token(call: Call) -> shapes.TokenText:
    """Make a token, which may do no more than its operator."""
    return _new_token(call, call.principal, call.body)


def _new_token(call: Call, principal: Principal, body: shapes.NewToken) -> shapes.TokenText:
    row, text = accounts.add_token(call.session, principal, body.name, list(body.scopes), body.days)
    accounts.note(call.session, principal, "token made", body.name, ", ".join(row.scopes))
    return shapes.TokenText(
        row.id, row.name, principal.name, row.scopes, row.created, row.expires, text
    )


def log_in(call: Call) -> shapes.TokenText:
    """Exchange an operator's name and password for a token."""
    body: shapes.Login = call.body
    if body.new_password is not None:
        accounts.change_password(call.session, call.principal.operator_id, body.new_password)
        accounts.note(call.session, call.principal, "password changed", body.name)
    elif call.principal.must_change:
        raise NewPasswordError
    return _new_token(call, call.principal, body.token)


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
    """Remove an operator, and all tokens of theirs."""
    name = call.path["name"]
    row = call.session.scalar(sa.select(Operator).where(Operator.name == name))
    if row is None:
        raise NotFoundError(f"there is no operator {name[:64]}")
    if row.id == call.principal.operator_id:
        raise ConflictError("operators cannot remove themselves")
    call.session.execute(sa.delete(Operator).where(Operator.id == row.id))
    accounts.note(call.session, call.principal, "operator removed", name)


def list_audit(call: Call) -> shapes.AuditList:
    """List what operators have done, and what the server has done by itself."""
    rows, following = _page(call, Audit)
    return shapes.AuditList([shapes.audit(row) for row in rows], following)


NOBODY = ""  # the scope of an operation that needs no token
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
    Operation("POST", "/boards/{mac}/retry", BOARDS, retry, shapes.Retried),
    Operation("GET", "/boards/{mac}/history", READ, board_history, shapes.AttemptList,
              query=AttemptsQuery),
    Operation("GET", "/releases", READ, list_releases, shapes.ReleaseList, query=ReleasesQuery),
    Operation("POST", "/releases", RELEASES, add_release, shapes.ReleaseShape,
              query=shapes.UploadQuery, is_upload=True),
    Operation("GET", "/releases/{number}", READ, get_release, shapes.ReleaseShape),
    Operation("PATCH", "/releases/{number}", RELEASES, change_release, shapes.ReleaseShape,
              body=shapes.ReleaseChange),
    Operation("GET", "/rollouts", READ, list_rollouts, shapes.RolloutList, query=ListQuery),
    Operation("POST", "/rollouts", ROLLOUTS, start_rollout, shapes.RolloutShape,
              body=shapes.NewRollout),
    Operation("GET", "/rollouts/{number}", READ, get_rollout, shapes.RolloutShape),
    Operation("GET", "/rollouts/{number}/attempts", READ, rollout_attempts, shapes.AttemptList,
              query=AttemptsQuery),
    Operation("POST", "/rollouts/{number}/pause", ROLLOUTS,
              _moving("pause", "Hold a roll-out."), shapes.RolloutShape),
    Operation("POST", "/rollouts/{number}/resume", ROLLOUTS,
              _moving("resume", "Let a paused roll-out go on."), shapes.RolloutShape),
    Operation("POST", "/rollouts/{number}/cancel", ROLLOUTS,
              _moving("cancel", "End a roll-out for good."), shapes.RolloutShape),
    Operation("GET", "/tokens", ADMIN, list_tokens, shapes.TokenList, query=ListQuery),
    Operation("POST", "/tokens", ADMIN, add_token, shapes.TokenText, body=shapes.NewToken),
    Operation("POST", "/login", NOBODY, log_in, shapes.TokenText, body=shapes.Login),
    Operation("DELETE", "/tokens/{number}", ADMIN, remove_token, None),
    Operation("GET", "/operators", ADMIN, list_operators, shapes.OperatorList),
    Operation("POST", "/operators", ADMIN, add_operator, shapes.OperatorShape,
              body=shapes.NewOperator),
    Operation("DELETE", "/operators/{name}", ADMIN, remove_operator, None),
    Operation("GET", "/audit", ADMIN, list_audit, shapes.AuditList, query=ListQuery),
)  # fmt: skip
