"""The plan as the database has it, as `decision` takes it; and the server's own time."""

import time
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mpota.server import decision
from mpota.server.database import BAD, DATA, OPEN, Board, Clock, Release, Rollout
from mpota.server.decision import BoardState, RolloutState

# Where more seconds are between two ticks, the server was off or somebody has set the clock: so
# many count then.
LONGEST_PAUSE_S = 60.0


def load(session: Session) -> tuple[int, decision.Plan]:
    """Return the plan's revision and the plan.

    Withdrawn releases and roll-outs that have ended are left out: no board gets them.
    """
    revision = session.scalar(sa.select(Clock.revision)) or 0
    releases = session.scalars(sa.select(Release).where(~Release.withdrawn))
    rollouts = session.scalars(
        sa.select(Rollout)
        .where(Rollout.state.in_([str(state) for state in decision.GIVING]))
        .order_by(Rollout.id)
    )
    return revision, decision.Plan(
        {row.id: release(row) for row in releases}, tuple(rollout(row) for row in rollouts)
    )


def release(row: Release) -> decision.Release:
    """Return a release as `decision` takes it."""
    return decision.Release(
        id=row.id,
        application=row.application,
        version=row.version,
        sequence=row.sequence,
        md5=row.blob.md5,
        content_md5=row.blob.content_md5,
        size_bytes=row.blob.size_bytes,
        sha256=row.blob_sha256,
        channel=row.channel,
        downgrade=row.downgrade,
        withdrawn=row.withdrawn,
        is_data=row.kind == DATA,
        data=row.data_sha256,
    )


def rollout(row: Rollout) -> decision.Rollout:
    """Return a roll-out as `decision` takes it."""
    return decision.Rollout(
        id=row.id,
        release_id=row.release_id,
        state=RolloutState(row.state),
        phases=tuple(
            decision.Phase(p.percent, p.soak_s, p.needed, frozenset(p.groups)) for p in row.phases
        ),
        phase=row.phase,
        groups=frozenset(row.groups),
        starts_at=row.starts_at,
        downloads_at_once=row.downloads_at_once,
        downloads_per_minute=row.downloads_per_minute,
        abort_share=row.abort_share,
        abort_minimum=row.abort_minimum,
        tries=row.tries,
        timeout_s=row.timeout_s,
    )


def board(
    row: Board, attempts: Iterable[Any], wants_data: bool, running_s: float
) -> decision.Board:
    """Return a board, which asks for data or for an application, as `decision` takes it.

    Of its *attempts* those count that are of the same kind. Each has `state`, `release_id`,
    `tries`, `forgiven`, `is_data`, `began_running_s` and `rollout_id`, as an Attempt. *running_s*
    is the server's own time; it counts where one of them is open.
    """
    attempts = [attempt for attempt in attempts if attempt.is_data == wants_data]
    failed = {a.release_id for a in attempts if a.state in BAD and not a.forgiven}
    going_on = None
    for a in attempts:
        if a.state == OPEN:
            age_s = running_s - a.began_running_s
            going_on = decision.Try(a.release_id, a.tries, age_s, a.rollout_id)
    return decision.Board(
        mac=row.mac,
        application=row.application,
        version=row.data_version if wants_data else row.version,
        sequence=row.sequence,
        md5=row.md5,
        state=BoardState(row.state),
        channel=row.channel,
        group=row.group_name,
        pin=row.pin_id,
        floor=row.floor,
        failed=frozenset(failed),
        open=going_on,
        data=row.data_sha256,
        wants_data=wants_data,
    )


def wall_clock(connection: sa.Connection) -> sa.ColumnElement[float]:
    """Return the time by which roll-outs go, in seconds since 1970, for a statement.

    Several machines may share a PostgreSQL. Their clocks differ, so that of the database counts.
    """
    if connection.dialect.name == "sqlite":
        return sa.literal(time.time())
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)


def running_s(connection: sa.Connection) -> float:
    """Return the server's own time: see database.Clock."""
    clock = sa.select(Clock.wall, Clock.running_s, wall_clock(connection))
    wall, running, now = connection.execute(clock).one()
    return float(running) + _passed_s(wall, now)


def _passed_s(before: float, now: float) -> float:
    return min(max(now - before, 0.0), LONGEST_PAUSE_S)


def tick(session: Session) -> tuple[float, float]:
    """Let the server's own time go on; return what the clock says, and how many seconds passed."""
    clock = session.get_one(Clock, 1, with_for_update=True)
    # Another worker may have held the lock for long: the clock is read behind it.
    now = session.scalars(sa.select(wall_clock(session.connection()))).one()
    passed_s = _passed_s(clock.wall, now)
    clock.running_s += passed_s
    clock.wall = now
    session.flush()
    return now, passed_s
