"""The updates of boards: which of them count, how many go on, how one begins and is given up.

reports.py ends them by what boards tell, and rollouts.py when a board tells nothing for too long.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mpota.server import decision
from mpota.server.database import BAD, FAILED, OPEN, REPLACED, Attempt, Board
from mpota.server.decision import Load
from mpota.server.questions import Question

TRANSFER_S = 30.0  # so long a download counts as one that goes on
_MINUTE_S = 60.0
_DIGEST_DIGITS = 16  # of a data image, in a board's history


def counting(session: Session, row: Board) -> list[Attempt]:
    """Return the updates of a board that count in a decision: open ones, and those that failed."""
    return list(
        session.scalars(
            sa.select(Attempt).where(Attempt.board_id == row.id, Attempt.state.in_((OPEN, *BAD)))
        )
    )


def going_on(attempts: list[Attempt], question: Question) -> Attempt | None:
    """Return the one of a board's *attempts* that is open, of the kind that the board asks for."""
    for attempt in attempts:
        if attempt.state == OPEN and attempt.is_data == question.wants_data:
            return attempt
    return None


def load(
    connection: sa.Connection, rollout: decision.Rollout, running_s: float, board_id: int = 0
) -> dict[int, Load]:
    """Return the downloads of a roll-out, of all boards but the one that asks.

    A download of its own that has broken off must not keep the board from going on with it.
    """
    goes_on = sa.and_(Attempt.state == OPEN, Attempt.offered_running_s > running_s - TRANSFER_S)
    at_once, last_minute = connection.execute(
        sa.select(sa.func.count().filter(goes_on), sa.func.count()).where(
            Attempt.rollout_id == rollout.id,
            Attempt.offered_running_s > running_s - _MINUTE_S,
            Attempt.board_id != board_id,
        )
    ).one()
    return {rollout.id: Load(at_once, last_minute)}


def give_up(attempt: Attempt, now: float) -> None:
    """End an update that has been sent so often, for so long, that it counts as failed."""
    attempt.state, attempt.ended = FAILED, now
    attempt.words = attempt.words or f"sent {attempt.tries} times, and the board does not run it"


def offer(
    session: Session,
    row: Board,
    before: Attempt | None,
    answer: decision.Answer,
    question: Question,
    running_s: float,
    now: float,
) -> int:
    """Write down that a board is given the release of *answer*; return how often it was by now.

    *before* is the board's update that goes on, if there is one.
    """
    assert answer.release is not None
    rollout_id = answer.rollout.id if answer.rollout else None
    if (
        before is not None
        and before.release_id == answer.release.id
        and before.rollout_id == rollout_id  # the one before may have been cancelled
    ):
        # A download that goes on where it broke off is not another try.
        if not (question.range and question.range[0] > 0):
            before.tries += 1
        before.offered_running_s = running_s
        return before.tries
    if before is not None:
        before.state, before.ended = REPLACED, now
        session.flush()
    session.add(
        Attempt(
            board_id=row.id,
            release_id=answer.release.id,
            rollout_id=rollout_id,
            state=OPEN,
            is_data=question.wants_data,
            was=_was(question),
            tries=1,
            began_running_s=running_s,
            offered_running_s=running_s,
            offered=now,
        )
    )
    return 1


def _was(question: Question) -> str:
    # Returns what the board had before the update that it is given, in a few characters.
    if question.wants_data:
        return question.version or (question.data or "")[:_DIGEST_DIGITS]
    return question.version or str(question.sequence or "")
