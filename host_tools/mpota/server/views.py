"""What the page shows: for each of its addresses a template, and the values that go into it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session
from starlette.requests import Request

from mpota.server import accounts, actions, counting, picture, rollouts
from mpota.server.accounts import Principal
from mpota.server.database import OPEN, Attempt, Audit, Board, Release, Rollout
from mpota.server.decision import BoardState, RolloutState

_ROWS = 50  # of a table that may be long
_RELEASES = 200
_ROLLOUTS = 20
_ENTRIES = 200  # of the audit
_SEARCH_LIMIT = 64  # characters
_Row = TypeVar("_Row", Audit, Release, Rollout)
_STATES = [str(state) for state in BoardState]


class View(NamedTuple):
    """A template, and what it is rendered with."""

    template: str
    values: Mapping[str, object]


def overview(session: Session, principal: Principal, request: Request) -> View:
    """Show how the fleet is: figures, the latest roll-outs, what runs."""
    rows, following = _newest(session, request, Rollout, _ROLLOUTS)
    counted = rollouts.counts(session, [row.id for row in rows])
    shown = [
        (row, counted[row.id], picture.progress(counted[row.id], _reach(session, row)))
        for row in rows
    ]
    running = picture.versions(counting.versions(session))
    values = {
        "counts": counting.boards(session),
        "updating": counting.updating(session),
        "rollouts": shown,
        "following": following,
        "running": running,
    }
    return View("overview.html", values)


def boards(session: Session, principal: Principal, request: Request) -> View:
    """Show the boards that the query looks for, a page of them at a time."""
    query = request.query_params
    wanted = {name: _searched(query.get(name, "")) for name in ("q", "state", "group", "after")}
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
    rows = session.scalars(found.limit(_ROWS + 1)).all()
    shown = rows[:_ROWS]
    updating = session.scalars(
        sa.select(Attempt.board_id).where(
            Attempt.state == OPEN, Attempt.board_id.in_([row.id for row in shown])
        )
    )
    groups = session.scalars(sa.select(Board.group_name).distinct().order_by(Board.group_name))
    values = {
        "boards": shown,
        "wanted": wanted,
        "following": shown[-1].mac if len(rows) > _ROWS else "",
        "updating": set(updating),
        "groups": [name for name in groups if name],
        "states": _STATES,
    }
    return View("boards.html", values)


def board(session: Session, principal: Principal, request: Request) -> View:
    """Show a board, its latest updates, and what can be changed of it."""
    row = actions.find_board(session, request.path_params["mac"])
    history = session.scalars(
        sa.select(Attempt)
        .where(Attempt.board_id == row.id)
        .order_by(Attempt.id.desc())
        .limit(_ROWS)
    ).all()
    releases = session.scalars(
        sa.select(Release).where(~Release.withdrawn).order_by(Release.id.desc()).limit(_RELEASES)
    ).all()
    if row.pin is not None and row.pin not in releases:  # withdrawn, or old: the form keeps it
        releases = [*releases, row.pin]
    to_try, refused = actions.failures(session, row)
    values = {
        "board": row, "history": history, "releases": releases, "states": _STATES,
        "to_try": to_try, "refused": refused,
    }  # fmt: skip
    return View("board.html", values)


def releases(session: Session, principal: Principal, request: Request) -> View:
    """Show the latest releases."""
    rows, following = _newest(session, request, Release, _RELEASES)
    return View("releases.html", {"releases": rows, "following": following})


def new_rollout(session: Session, principal: Principal, request: Request) -> View:
    """Show what can be chosen for a roll-out of the release in the query."""
    release = actions.find_release(session, _number(request, "release"))
    return View("new_rollout.html", {"release": release})


def rollout(session: Session, principal: Principal, request: Request) -> View:
    """Show how a roll-out goes on, and why boards did not keep its release."""
    row = actions.find_rollout(session, actions.number_of(request.path_params["number"]))
    counts = rollouts.counts(session, [row.id])[row.id]
    latest = session.scalars(
        sa.select(Attempt)
        .where(Attempt.rollout_id == row.id)
        .order_by(Attempt.id.desc())
        .limit(_ROWS)
    ).all()
    values = {
        "rollout": row,
        "counts": counts,
        "progress": picture.progress(counts, _reach(session, row)),
        "bars": picture.over_time(counting.endings(session, row.id)),
        "reasons": counting.reasons(session, row.id),
        "attempts": latest,
        "can_pause": row.state
        in (RolloutState.SCHEDULED, RolloutState.RUNNING, RolloutState.COMPLETE),
        "can_resume": row.state == RolloutState.PAUSED,
    }
    return View("rollout.html", values)


def audit(session: Session, principal: Principal, request: Request) -> View:
    """Show what operators have done lately, and the server by itself."""
    actions.demand(principal, accounts.ADMIN)
    rows, following = _newest(session, request, Audit, _ENTRIES)
    return View("audit.html", {"entries": rows, "following": following})


def password(session: Session, principal: Principal, request: Request) -> View:
    """Show the form for another password."""
    return View("password.html", {})


def _newest(
    session: Session, request: Request, of: type[_Row], limit: int
) -> tuple[Sequence[_Row], int]:
    # Returns the newest rows before the number in the query, and the number for the following
    # ones; 0 where there are none.
    found = sa.select(of).order_by(of.id.desc())
    if before := _number(request, "before"):
        found = found.where(of.id < before)
    rows = session.scalars(found.limit(limit + 1)).all()
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else 0


def _number(request: Request, name: str) -> int:
    # Returns a number of the query; 0 where there is none.
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _searched(text: str) -> str:
    # PostgreSQL keeps no NUL, and no text that is looked for has control characters.
    return "".join(char for char in text[:_SEARCH_LIMIT] if char.isprintable())


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
