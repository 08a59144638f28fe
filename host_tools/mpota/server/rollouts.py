"""Roll-outs: operators begin, pause and cancel them; the tick lets them go on, or stops them."""

import dataclasses
import time
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mpota.errors import CommandError
from mpota.server import decision, plan
from mpota.server.database import (
    BAD,
    CONFIRMED,
    DATA,
    FAILED,
    OPEN,
    REPLACED,
    REVERTED,
    TIMED_OUT,
    Attempt,
    Audit,
    Board,
    Clock,
    Database,
    Phase,
    Release,
    Rollout,
    change_plan,
)
from mpota.server.decision import BoardState, Counts, RolloutState
from mpota.server.errors import ConflictError

PHASES_LIMIT = 20
_CLOCKS_S = 60.0  # so much the clocks of several machines may differ
_AT_ONCE = 100  # boards that are read at a time
_NO_BOARD = "no board is in this phase"
_IDLE_TICK_S = 30.0  # between ticks while no roll-out goes on and no board is in an update
_TIMEOUT_S = decision.Rollout(0, 0).timeout_s  # of an update that comes by a pin
_TICKING = [
    str(state) for state in (RolloutState.SCHEDULED, RolloutState.RUNNING, RolloutState.COMPLETE)
]


def start(session: Session, release: Release, made: decision.Rollout) -> Rollout:
    """Begin the roll-out *made* of *release*; its id, state and phase do not count.

    Raises ConflictError where the release has another roll-out that goes on, CommandError where
    *made* makes no sense.
    """
    _check(made)
    if release.withdrawn:
        raise ConflictError(f"{release.title} is withdrawn")
    # The time that has passed before does not count. The clock is locked until the end: of two
    # operators who begin a roll-out of the same release at once, one sees that of the other.
    now, _ = plan.tick(session)
    other = session.scalar(
        sa.select(Rollout.id).where(
            Rollout.release_id == release.id,
            Rollout.state.not_in([str(state) for state in decision.ENDED]),
        )
    )
    if other:
        raise ConflictError(f"{release.title} has roll-out {other} already: cancel that one")
    waits = made.starts_at is not None and made.starts_at > now
    rollout = Rollout(
        release=release,
        state=RolloutState.SCHEDULED if waits else RolloutState.RUNNING,
        groups=sorted(made.groups),
        starts_at=made.starts_at,
        downloads_at_once=made.downloads_at_once,
        downloads_per_minute=made.downloads_per_minute,
        abort_share=made.abort_share,
        abort_minimum=made.abort_minimum,
        tries=made.tries,
        timeout_s=made.timeout_s,
        created=now,
        phases=[
            Phase(
                number=number,
                percent=phase.percent,
                soak_s=phase.soak_s,
                needed=phase.needed,
                groups=sorted(phase.groups),
                began=None if number or waits else now,
            )
            for number, phase in enumerate(made.phases)
        ],
    )
    session.add(rollout)
    change_plan(session)
    session.flush()
    return rollout


def hold(session: Session, rollout: Rollout) -> None:
    """Pause the roll-out: no board is given its release until it is resumed."""
    _move(session, rollout, RolloutState.PAUSED, _TICKING)


def resume(session: Session, rollout: Rollout) -> None:
    """Let a paused roll-out go on, where it was; boards have as much time as at its beginning."""
    now, _ = plan.tick(session)
    session.execute(
        sa.update(Attempt)
        .where(Attempt.rollout_id == rollout.id, Attempt.state == OPEN)
        .values(began_running_s=plan.running_s(session.connection()))
    )
    state = RolloutState.RUNNING
    if rollout.starts_at is not None and rollout.starts_at > now:
        state = RolloutState.SCHEDULED
    _move(session, rollout, state, [RolloutState.PAUSED])


def cancel(session: Session, rollout: Rollout) -> None:
    """End the roll-out for good; boards that run its release keep it."""
    _move(session, rollout, RolloutState.CANCELLED, [*_TICKING, RolloutState.PAUSED])
    rollout.ended = time.time()


def counts(session: Session, rollout_ids: Iterable[int]) -> dict[int, Counts]:
    """Return how the updates of each roll-out have ended so far."""
    found: dict[int | None, dict[str, int]] = {number: {} for number in rollout_ids}
    counted = (
        sa.select(Attempt.rollout_id, Attempt.state, sa.func.count())
        .where(Attempt.rollout_id.in_(found), ~Attempt.forgiven)
        .group_by(Attempt.rollout_id, Attempt.state)
    )
    for number, state, count in session.execute(counted):
        found[number][state] = count
    return {
        number or 0: Counts(
            confirmed=of.get(CONFIRMED, 0),
            reverted=of.get(REVERTED, 0),
            failed=of.get(FAILED, 0),
            timed_out=of.get(TIMED_OUT, 0),
            open=of.get(OPEN, 0),
        )
        for number, of in found.items()
    }


def tick(database: Database, tick_s: float = 0.0) -> list[str]:
    """Let time pass for the roll-outs: start, advance, complete and abort those that are due.

    One worker does it at a time, and all of them together not more often than every *tick_s*.
    Return what has happened, in lines for the log.
    """
    if not _is_due(database, tick_s):
        return []
    with database.writing() as session:
        if not database.try_lock(session):
            return []
        before = session.scalars(sa.select(Clock.wall)).one()
        now, passed_s = plan.tick(session)
        # Roll-outs are locked before updates, as where a board is given one: else the two could
        # wait for each other.
        ticking = session.scalars(
            sa.select(Rollout)
            .where(_may_move(min(before, now) - _CLOCKS_S))
            .with_for_update(of=Rollout, key_share=True)
        ).all()
        _time_out(session, now)
        counted = counts(session, [rollout.id for rollout in ticking])
        said = []
        for rollout in ticking:
            if rollout.state == RolloutState.RUNNING:
                rollout.soaked_s += passed_s
            made = plan.rollout(rollout)
            if decision.waits_for_boards(made, counted[rollout.id], rollout.soaked_s):
                confirmed = counted[rollout.id].confirmed
                made = _within_reach(session, rollout, made, confirmed)
            step = decision.advance(made, counted[rollout.id], rollout.soaked_s, now)
            if step:
                said.append(_take(session, rollout, step, now))
        return said


def _within_reach(
    session: Session, row: Rollout, made: decision.Rollout, confirmed: int
) -> decision.Rollout:
    # Returns the roll-out with a phase that waits for no more boards than have confirmed the
    # release in it or can still be given it. While the roll-out is for no board at all, its phase
    # waits for the first ones.
    release, phase = row.release, made.phases[made.phase]
    wanted = sa.select(Board.mac, Board.group_name).where(
        Board.state == BoardState.ACCEPTED,
        Board.application == release.application,
        Board.channel == release.channel,
        Board.pin_id.is_(None),
    )
    if made.groups:
        wanted = wanted.where(Board.group_name.in_(made.groups))
    if session.execute(wanted.limit(1)).first() is None:
        row.why = _NO_BOARD
        return made
    if row.why == _NO_BOARD:
        row.why = ""
    reached = confirmed
    can_get = wanted.where(_lacks(release), ~_has_failed_before(row))
    with session.execute(can_get, execution_options={"yield_per": _AT_ONCE}) as found:
        for mac, group in found:
            board = decision.Board(mac, release.application, group=group)
            reached += decision.includes(made, board)
            if reached >= phase.needed:
                break
    phases = list(made.phases)
    phases[made.phase] = dataclasses.replace(phase, needed=min(reached, phase.needed))
    return dataclasses.replace(made, phases=tuple(phases))


def _lacks(release: Release) -> sa.ColumnElement[bool]:
    # Whether a board does not have the release yet, nor a later one, by what the board tells.
    blob = release.blob
    if release.kind == DATA:
        told = Board.data_sha256
        has_other = sa.or_(told == "", ~sa.literal(release.data_sha256).startswith(told))
        return sa.case(
            (told.is_(None), Board.data_version.is_distinct_from(release.version)),
            else_=has_other,
        )
    has_other = sa.case(
        (Board.sequence.is_not(None), Board.sequence < release.sequence),
        (Board.version.is_not(None), Board.version != release.version),
        else_=Board.md5.not_in((blob.md5, blob.content_md5)),
    )
    return sa.and_(Board.floor <= release.sequence, has_other)


def _has_failed_before(rollout: Rollout) -> sa.ColumnElement[bool]:
    # Whether the release has failed on a board outside of this roll-out: it is not offered again.
    return sa.exists().where(
        Attempt.board_id == Board.id,
        Attempt.release_id == rollout.release_id,
        Attempt.rollout_id.is_distinct_from(rollout.id),
        Attempt.state.in_(BAD),
        ~Attempt.forgiven,
    )


def _may_move(since: float) -> sa.ColumnElement[bool]:
    # Complete roll-outs are many in the end, and large. They can only stop, and only by updates
    # that have ended since the last tick.
    ended = sa.select(Attempt.rollout_id).where(Attempt.ended >= since)
    return sa.or_(
        Rollout.state.in_(_TICKING[:2]),
        sa.and_(Rollout.state == RolloutState.COMPLETE, Rollout.id.in_(ended)),
    )


def _is_due(database: Database, tick_s: float) -> bool:
    with database.looking() as connection:
        clock = sa.select(plan.wall_clock(connection) - Clock.wall)
        since_s = abs(connection.scalars(clock).one())
        if since_s < 0.9 * tick_s:  # another worker has done it
            return False
        is_busy = connection.scalar(
            sa.select(sa.func.count()).where(Rollout.state.in_(_TICKING[:2]))
        ) or connection.scalar(sa.select(Attempt.id).where(Attempt.state == OPEN).limit(1))
    return bool(is_busy) or since_s >= _IDLE_TICK_S


def _time_out(session: Session, now: float) -> None:
    # Ends the updates of boards that have said nothing of them for too long. Those of a paused
    # roll-out wait: no board can go on with a download that broke off. That nothing was heard of an
    # update whose roll-out was cancelled does not keep the board from the release's next roll-out.
    running_s = session.get_one(Clock, 1).running_s
    limit = sa.func.coalesce(Rollout.timeout_s, _TIMEOUT_S)
    late = session.scalars(
        sa.select(Attempt.id)
        .outerjoin(Rollout, Rollout.id == Attempt.rollout_id)
        .where(
            Attempt.state == OPEN,
            Attempt.began_running_s + limit <= running_s,
            Rollout.state.is_distinct_from(str(RolloutState.PAUSED)),
        )
        .with_for_update(of=Attempt, skip_locked=True)
    ).all()
    if late:
        cancelled = sa.select(Rollout.id).where(Rollout.state == str(RolloutState.CANCELLED))
        session.execute(
            sa.update(Attempt)
            .where(Attempt.id.in_(late))
            .values(
                state=sa.case((Attempt.rollout_id.in_(cancelled), REPLACED), else_=TIMED_OUT),
                ended=now,
                words=sa.case((Attempt.words == "", "no word in time"), else_=Attempt.words),
            )
        )


def _take(session: Session, rollout: Rollout, step: decision.Step, now: float) -> str:
    is_aborted = step.state == RolloutState.ABORTED
    if step.phase != rollout.phase or rollout.state == RolloutState.SCHEDULED:
        rollout.phases[step.phase].began = now
        rollout.soaked_s = 0.0
    rollout.state, rollout.phase, rollout.why = step.state, step.phase, step.why
    if is_aborted:
        rollout.ended = now
    change_plan(session)
    what = f"roll-out {step.state}"
    target = f"roll-out {rollout.id}"
    session.add(Audit(at=now, operator="", what=what, target=target, detail=step.why))
    release = rollout.release
    return f"{target} of {release.title}: {step.state}: {step.why}"


def _move(session: Session, rollout: Rollout, state: RolloutState, allowed: Iterable[str]) -> None:
    if rollout.state not in allowed:
        raise ConflictError(f"roll-out {rollout.id} is {rollout.state}: this cannot be done now")
    rollout.state = state
    change_plan(session)


def _check(made: decision.Rollout) -> None:
    if not 1 <= len(made.phases) <= PHASES_LIMIT:
        raise CommandError(f"a roll-out has 1 to {PHASES_LIMIT} phases")
    for phase in made.phases:
        if not 0 < phase.percent <= 100:
            raise CommandError(
                f"a phase's percentage is above 0 and at most 100, not {phase.percent:g}"
            )
        if phase.soak_s < 0 or phase.needed < 0:
            raise CommandError("a phase's soak time and its number of boards cannot be below 0")
    if not 0 <= made.abort_share <= 1:
        raise CommandError(f"the share to stop at is from 0 to 1, not {made.abort_share:g}")
    if made.abort_minimum < 1 or made.tries < 1 or made.timeout_s <= 0:
        raise CommandError("the minimum to stop at, tries and time-out must be above 0")
    for limit in (made.downloads_at_once, made.downloads_per_minute):
        if limit is not None and limit < 1:
            raise CommandError("a limit of downloads must be above 0: pause the roll-out instead")
