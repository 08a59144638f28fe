"""What a board tells of itself is taken into its row, and ends the update that it was given."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mpota.server.database import (
    CONFIRMED,
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
_REPLACED = "replaced by another update"  # before it was tried
# What the row and the question both have, and what decides an answer.
_TOLD = ("version", "sequence", "md5", "outcome")


def is_news(row: Board, question: Question, application: str) -> bool:
    """Tell whether the board says anything that its row does not have yet."""
    return row.application != application or any(
        getattr(row, name) != getattr(question, name) for name in _TOLD
    )


def ending(release: Release, question: Question) -> str:
    """Say how the update to *release* ended, as the board tells it; "" if it does not say."""
    if question.is_ours:
        if question.sequence == release.sequence:
            return CONFIRMED
        if question.outcome.startswith(f"{_TAKEN_BACK}{release.sequence}:"):
            return REVERTED
        if question.outcome.startswith(_REPLACED):
            return REPLACED
        return ""
    if question.version is not None:
        return CONFIRMED if question.version == release.version else ""
    is_that = question.md5 in (release.blob.md5, release.blob.content_md5)
    return CONFIRMED if is_that else ""


def take(session: Session, row: Board, question: Question, application: str, now: float) -> None:
    """Write what the board tells into its row and its history."""
    had = row.outcome
    if row.application != application:
        row.floor = 0
    row.application = application
    for name in _TOLD:
        setattr(row, name, getattr(question, name))
    row.sdk = question.sdk
    row.chip_size = question.chip_size
    row.floor = max(row.floor, question.sequence or 0)
    last = session.scalars(
        sa.select(Attempt).where(Attempt.board_id == row.id).order_by(Attempt.id.desc()).limit(1)
    ).first()
    if last and last.state in (OPEN, TIMED_OUT, FAILED):
        state = ending(last.release, question)
        # What was said before this update was offered is not about it.
        if state and (state == CONFIRMED or last.state == OPEN or question.outcome != had):
            if state == REPLACED and question.outcome == had:
                return
            last.state, last.words, last.ended = state, question.outcome, now
            if state == CONFIRMED:
                row.floor = max(row.floor, last.release.sequence)
            return
        if last.state == OPEN and question.outcome != had:
            last.words = question.outcome
    _note_what_came_otherwise(session, row, question, had, now)


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
            Release.application == row.application, Release.sequence == int(number)
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
