"""Figures of the whole fleet, for the page and for Prometheus."""

import time

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mpota.server.database import (
    BAD,
    CONFIRMED,
    FAILED,
    OPEN,
    REVERTED,
    Attempt,
    Board,
    Clock,
    Database,
    Rollout,
)
from mpota.server.decision import BoardState

_WITHIN_S = {"1h": 3600, "1d": 86400, "7d": 7 * 86400}
_ENDINGS_LIMIT = 20_000  # so many of a roll-out's updates are in its picture


def counts(database: Database) -> dict[str, dict[str, int]]:
    """Count boards, updates and roll-outs by state, and boards by when they were seen."""
    with database.reading() as session:
        updates, rollouts = _by(session, Attempt.state), _by(session, Rollout.state)
        return boards(session) | {"updates": updates, "rollouts": rollouts}


def boards(session: Session) -> dict[str, dict[str, int]]:
    """Count boards by state, and by when they were seen."""
    now = time.time()

    def seen_within(seconds: float) -> int:
        accepted = Board.state == BoardState.ACCEPTED
        seen = sa.select(sa.func.count()).where(accepted, Board.last_seen > now - seconds)
        return session.scalar(seen) or 0

    return {
        "boards": _by(session, Board.state),
        "boards_seen": {name: seen_within(seconds) for name, seconds in _WITHIN_S.items()},
    }


def updating(session: Session) -> int:
    """Count the updates that go on."""
    return session.scalar(sa.select(sa.func.count()).where(Attempt.state == OPEN)) or 0


def _by(session: Session, column: sa.orm.InstrumentedAttribute[str]) -> dict[str, int]:
    found = session.execute(sa.select(column, sa.func.count()).group_by(column))
    return {row[0]: row[1] for row in found}


def versions(session: Session) -> list[tuple[str, int]]:
    """Count accepted boards by what they run, the most frequent first."""
    found = session.execute(
        sa.select(Board.application, Board.version, sa.func.count())
        .where(Board.state == BoardState.ACCEPTED)
        .group_by(Board.application, Board.version)
        .order_by(sa.func.count().desc())
        .limit(12)
    )
    return [(f"{name} {version or '?'}".strip(), count) for name, version, count in found]


def endings(session: Session, rollout_id: int) -> list[tuple[float, str]]:
    """Return when and how the updates of a roll-out ended; time-outs count as failures."""
    found = session.execute(
        sa.select(Attempt.ended, Attempt.state)
        .where(Attempt.rollout_id == rollout_id, Attempt.ended.is_not(None))
        .where(Attempt.state.in_((CONFIRMED, *BAD)))
        .order_by(Attempt.ended.desc())
        .limit(_ENDINGS_LIMIT)
    )
    return [
        (ended or 0.0, state if state in (CONFIRMED, REVERTED) else FAILED)
        for ended, state in found
    ]


def reasons(session: Session, rollout_id: int) -> list[tuple[str, str, int]]:
    """Return how updates ended badly, the boards' own words for it, and how many say so."""
    found = session.execute(
        sa.select(Attempt.state, Attempt.words, sa.func.count())
        .where(Attempt.rollout_id == rollout_id, Attempt.state.in_(BAD), ~Attempt.forgiven)
        .group_by(Attempt.state, Attempt.words)
        .order_by(sa.func.count().desc())
        .limit(20)
    )
    return [(state, words, count) for state, words, count in found]


def news(database: Database) -> tuple[object, ...]:
    """Return a value that differs from the one before when something on a page has changed."""
    # Each of them is the last entry of an index.
    latest = (
        Board.id, Board.last_seen, Attempt.id, Attempt.ended, Attempt.offered,
    )  # fmt: skip
    with database.looking() as connection:
        revision = connection.scalar(sa.select(Clock.revision))
        return revision, *(connection.scalar(sa.select(sa.func.max(of))) for of in latest)
