"""What a board tells: it is written into the board's row, and ends the update it was given."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mpota.server.database import (
    CONFIRMED,
    DATA,
    FAILED,
    OPEN,
    REPLACED,
    REVERTED,
    TIMED_OUT,
    Attempt,
    Board,
    Release,
)
from mpota.server.questions import Question

_TAKEN_BACK = "taken back: "
_REPLACED = "replaced by another update"  # the words go on: before it was tried
_DATA_CONFIRMED = "confirmed: data"
_DATA_TAKEN_BACK = "taken back: data:"


def is_news(row: Board, question: Question, application: str) -> bool:
    """Return whether the board tells anything that its row does not have yet."""
    return row.application != application or any(
        getattr(row, name) != value for name, value in _told(row, question).items()
    )


def _told(row: Board, question: Question) -> dict[str, object]:
    # Returns the columns for what decides the answer, and the values that the board tells.
    told: dict[str, object] = {
        "sequence": question.sequence,
        "md5": question.md5,
        "outcome": question.outcome,
    }
    if question.wants_data:
        told["data_version"] = question.version
    elif question.version is not None or question.sequence != row.sequence or not question.is_ours:
        # When an application of ours asks, it need not tell the version.
        told["version"] = question.version
    if question.data is not None:
        told["data_sha256"] = question.data
    return told


class Ending(NamedTuple):
    """How an update ended. A board's words may be about an earlier one unless `is_sure`."""

    state: str
    is_sure: bool


def ending(release: Release, question: Question) -> Ending | None:
    """Return how the update to *release* ended, as the board tells it; None if it does not."""
    if release.kind == DATA:
        return _ending_of_data(release, question)
    if question.is_ours:
        if question.sequence == release.sequence:
            return Ending(CONFIRMED, True)
        if question.outcome.startswith(f"{_TAKEN_BACK}{release.sequence}:"):
            return Ending(REVERTED, True)
        if question.outcome.startswith(_REPLACED):
            return Ending(REPLACED, False)
        return None
    if question.wants_data:
        return None
    if question.version is not None:
        has_it = question.version == release.version
    else:
        has_it = question.md5 in (release.blob.md5, release.blob.content_md5)
    return Ending(CONFIRMED, True) if has_it else None


def _ending_of_data(release: Release, question: Question) -> Ending | None:
    # A board asks for nothing while data are on trial: those that it has, it has confirmed.
    if question.data is not None:
        if question.data and release.data_sha256.startswith(question.data):
            return Ending(CONFIRMED, True)
    elif question.wants_data and question.version == release.version:
        return Ending(CONFIRMED, True)
    elif question.outcome == _DATA_CONFIRMED:
        return Ending(CONFIRMED, False)
    if question.outcome.startswith(_DATA_TAKEN_BACK):
        return Ending(REVERTED, False)
    return None


def take(session: Session, row: Board, question: Question, application: str, now: float) -> None:
    """Write what the board tells into its row and its history."""
    had = row.outcome
    if row.application != application:
        row.floor = 0
    row.application = application
    for name, value in _told(row, question).items():
        setattr(row, name, value)
    row.sdk = question.sdk
    row.chip_size = question.chip_size
    row.floor = max(row.floor, question.sequence or 0)
    has_ended = [_end_last(session, row, is_data, question, had, now) for is_data in (False, True)]
    if not any(has_ended):
        _note_what_came_otherwise(session, row, question, had, now)


def _end_last(
    session: Session, row: Board, is_data: bool, question: Question, had: str, now: float
) -> bool:
    # Ends the last update of that kind, if the board tells its end; returns whether it does.
    last = session.scalars(
        sa.select(Attempt)
        .where(Attempt.board_id == row.id, Attempt.is_data == is_data)
        .order_by(Attempt.id.desc())
        .limit(1)
    ).first()
    if last is None or last.state not in (OPEN, TIMED_OUT, FAILED):
        return False
    found = ending(last.release, question)
    is_new = question.outcome != had
    if found:
        # The late word of a board whose update counts as failed must be a new one, unless the board
        # runs the release.
        counts = found.is_sure and (last.state == OPEN or found.state == CONFIRMED)
        if is_new or counts:
            last.state, last.words, last.ended = found.state, question.outcome, now
            if found.state == CONFIRMED and not is_data:
                row.floor = max(row.floor, last.release.sequence)
            return True
    if last.state == OPEN and is_new:
        last.words = question.outcome
    return False


def _note_what_came_otherwise(
    session: Session, row: Board, question: Question, had: str, now: float
) -> None:
    # A release that was brought by another way, and taken back, is not to be offered either.
    number = question.outcome.removeprefix(_TAKEN_BACK).partition(":")[0]
    if (
        question.outcome == had
        or not question.outcome.startswith(_TAKEN_BACK)
        or not (number.isascii() and number.isdigit() and len(number) <= 10)
    ):
        return
    release = session.scalar(
        sa.select(Release).where(
            Release.application == row.application,
            Release.sequence == int(number),
            Release.kind != DATA,
        )
    )
    if release and not session.scalar(
        sa.select(Attempt.id).where(
            Attempt.board_id == row.id, Attempt.release_id == release.id, Attempt.state == REVERTED
        )
    ):
        session.add(
            Attempt(
                board_id=row.id,
                release_id=release.id,
                state=REVERTED,
                words=question.outcome,
                tries=0,
                began_running_s=0.0,
                offered_running_s=0.0,
                offered=now,
                ended=now,
            )
        )
