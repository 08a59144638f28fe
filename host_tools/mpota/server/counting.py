"""Figures of the whole fleet, for the page and for Prometheus."""

import time

import sqlalchemy as sa

from mpota.server.database import Attempt, Board, Database, Rollout
from mpota.server.decision import BoardState

_WITHIN_S = {"1h": 3600, "1d": 86400, "7d": 7 * 86400}


def counts(database: Database) -> dict[str, dict[str, int]]:
    """Count boards, updates and roll-outs by state, and boards by when they were seen."""
    now = time.time()
    with database.reading() as session:

        def by(column: sa.orm.InstrumentedAttribute[str]) -> dict[str, int]:
            found = session.execute(sa.select(column, sa.func.count()).group_by(column))
            return {row[0]: row[1] for row in found}

        def seen_within(seconds: float) -> int:
            accepted = Board.state == BoardState.ACCEPTED
            counted = sa.select(sa.func.count()).where(accepted, Board.last_seen > now - seconds)
            return session.scalar(counted) or 0

        return {
            "boards": by(Board.state),
            "boards_seen": {name: seen_within(seconds) for name, seconds in _WITHIN_S.items()},
            "updates": by(Attempt.state),
            "rollouts": by(Rollout.state),
        }
