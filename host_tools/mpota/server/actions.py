"""What operators do by the API and by the page: checked, done and noted in the audit here."""

import hashlib
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import TypeVar

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from sqlalchemy.orm import Session

from mpota.errors import CommandError
from mpota.server import accounts, decision, releases, rollouts
from mpota.server.accounts import Principal, note
from mpota.server.database import (
    BAD,
    REVERTED,
    Attempt,
    Board,
    Clock,
    Release,
    Rollout,
    change_plan,
)
from mpota.server.decision import BoardState
from mpota.server.errors import ConflictError, ForbiddenError, NotFoundError
from mpota.server.images import ImageDirectory
from mpota.server.times import moment

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}")
_SAID = {"label", "notes"}  # the columns that only say something to people
_Row = TypeVar("_Row", Board, Release)
_NUMBER = re.compile("[1-9][0-9]{0,8}")
_NUMBER_LIMIT = 2**31  # the database keeps smaller numbers alone


def demand(principal: Principal, scope: str) -> None:
    """Raise ForbiddenError where *principal* does not have *scope*."""
    if not principal.may(scope):
        raise ForbiddenError(f"this needs the scope {scope}, which {principal.name} does not have")


def mac_of(text: str) -> str:
    """Return a MAC address as the database has it. Raises CommandError."""
    if not _MAC.fullmatch(text):
        raise CommandError(f"{text!r} is no MAC address: give one like 5C:CF:7F:12:34:56")
    return re.sub("[:-]", "", text).upper()


def number_of(text: str) -> int:
    """Return a number in a path. Raises NotFoundError where nothing can have that number."""
    if not _NUMBER.fullmatch(text):
        raise NotFoundError(f"there is nothing of the number {text[:20]}")
    return int(text)


def find_board(session: Session, text: str) -> Board:
    """Return the board with that MAC address. Raises NotFoundError."""
    mac = mac_of(text)
    board = session.scalar(sa.select(Board).where(Board.mac == mac))
    if board is None:
        raise NotFoundError(f"there is no board {text}")
    return board


def find_boards(session: Session, texts: Iterable[str]) -> Sequence[Board]:
    """Return the boards with these MAC addresses, to change them. Raises NotFoundError."""
    macs = {mac_of(text) for text in texts}
    # In one order in all workers, so that no two wait for each other.
    boards = session.scalars(
        sa.select(Board)
        .where(Board.mac.in_(macs))
        .order_by(Board.mac)
        .with_for_update(of=Board, key_share=True)
    ).all()
    missing = macs - {board.mac for board in boards}
    if missing:
        raise NotFoundError(f"there is no board {min(missing)}")
    return boards


def find_release(session: Session, number: int) -> Release:
    """Return the release with that number. Raises NotFoundError."""
    release = session.get(Release, number) if number < _NUMBER_LIMIT else None
    if release is None:
        raise NotFoundError(f"there is no release {number}")
    return release


def find_rollout(session: Session, number: int, lock: bool = False) -> Rollout:
    """Return the roll-out with that number. Raises NotFoundError.

    With *lock*, no other worker changes the roll-out before this transaction ends.
    """
    wanted = sa.select(Rollout).where(Rollout.id == number)
    if lock:
        # The tick locks in this order, too: else the two could wait for each other for ever.
        session.get_one(Clock, 1, with_for_update=True)
        wanted = wanted.with_for_update(of=Rollout, key_share=True)
    rollout = session.scalar(wanted) if number < _NUMBER_LIMIT else None
    if rollout is None:
        raise NotFoundError(f"there is no roll-out {number}")
    return rollout


def add_board(session: Session, principal: Principal, text: str, **fields: object) -> Board:
    """Add a board that has not asked yet; it is accepted."""
    demand(principal, accounts.BOARDS)
    mac = mac_of(text)
    if session.scalar(sa.select(Board.id).where(Board.mac == mac)):
        raise ConflictError(f"there is a board {mac} already: change that one")
    board = Board(mac=mac, state=BoardState.ACCEPTED)
    session.add(board)
    session.flush()
    note(session, principal, "board added", mac)
    change_board(session, principal, board, **fields)
    return board


def change_board(session: Session, principal: Principal, board: Board, **fields: object) -> None:
    """Set *fields* of a board's row: state, label, group_name, channel, assigned, pin_id."""
    change_boards(session, principal, [board], **fields)


def change_boards(
    session: Session, principal: Principal, boards: Sequence[Board], **fields: object
) -> None:
    """Do the same as `change_board` with several boards: one entry of the audit has them all."""
    demand(principal, accounts.BOARDS)
    pin = fields.get("pin_id")
    if isinstance(pin, int):
        find_release(session, pin)
    told, changed = _set(session, boards, fields)
    if len(changed) == 1:
        note(session, principal, "board changed", changed[0].mac, told)
    elif changed:
        macs = " ".join(board.mac for board in changed)
        note(session, principal, "boards changed", f"{len(changed)} boards", f"{told}: {macs}")


def _set(
    session: Session, rows: Sequence[_Row], fields: dict[str, object]
) -> tuple[str, list[_Row]]:
    # Sets fields of rows; returns in words which of them have changed, and of which rows.
    changed: dict[_Row, set[str]] = {}
    for row in rows:
        names = {name for name, value in fields.items() if getattr(row, name) != value}
        for name in names:
            setattr(row, name, fields[name])
        if names:
            changed[row] = names
    all_names = set().union(*changed.values())
    if not all_names <= _SAID:
        change_plan(session)
    told = ", ".join(f"{name} = {value}" for name, value in fields.items() if name in all_names)
    return told, list(changed)


def new_secret(session: Session, principal: Principal, board: Board) -> str:
    """Give the board a secret of its own and return it; the database keeps its digest alone."""
    demand(principal, accounts.BOARDS)
    secret = secrets.token_hex(16)
    board.secret_sha256 = hashlib.sha256(secret.encode()).hexdigest()
    note(session, principal, "board's secret changed", board.mac)
    change_plan(session)
    return secret


def forget_secret(session: Session, principal: Principal, board: Board) -> None:
    """Take the board's own secret away."""
    demand(principal, accounts.BOARDS)
    board.secret_sha256 = None
    note(session, principal, "board's secret taken away", board.mac)
    change_plan(session)


def failures(session: Session, board: Board) -> tuple[list[Attempt], list[Attempt]]:
    """Return the updates that the board may try again, and those that it would refuse.

    A board of ours refuses the sequence that it has taken back itself.
    """
    failed = session.scalars(
        sa.select(Attempt).where(
            Attempt.board_id == board.id, Attempt.state.in_(BAD), ~Attempt.forgiven
        )
    )
    to_try: list[Attempt] = []
    refused: list[Attempt] = []
    for attempt in failed:
        is_refused = attempt.state == REVERTED and not attempt.is_data
        (refused if is_refused and board.sequence is not None else to_try).append(attempt)
    return to_try, refused


def retry(session: Session, principal: Principal, board: Board) -> tuple[int, int]:
    """Offer a board again what has failed on it.

    Return how many updates that are, and how many are left out, as in `failures`.
    """
    demand(principal, accounts.BOARDS)
    to_try, refused = failures(session, board)
    for attempt in to_try:
        attempt.forgiven = True
    if to_try:
        note(session, principal, "board may try again", board.mac)
        change_plan(session)
    return len(to_try), len(refused)


def remove_board(session: Session, principal: Principal, board: Board) -> None:
    """Forget a board, and its history."""
    demand(principal, accounts.BOARDS)
    session.execute(sa.delete(Attempt).where(Attempt.board_id == board.id))
    session.delete(board)
    note(session, principal, "board removed", board.mac)
    change_plan(session)


def add_release(
    session: Session,
    principal: Principal,
    images: ImageDirectory,
    data: bytes,
    described: releases.Described,
    channel: str,
    notes: str,
) -> Release:
    """Keep an uploaded image, as `releases.describe` has read it."""
    demand(principal, accounts.RELEASES)
    release = releases.add(session, images, data, described, channel=channel, notes=notes)
    name = release.title
    note(session, principal, "release added", name, f"sequence {release.sequence}")
    change_plan(session)
    return release


def describe(
    principal: Principal, data: bytes, keys: list[RSAPublicKey], **fields: object
) -> releases.Described:
    """Read an uploaded image, for `add_release`."""
    demand(principal, accounts.RELEASES)
    return releases.describe(data, keys, **fields)  # type: ignore[arg-type]


def change_release(
    session: Session, principal: Principal, release: Release, **fields: object
) -> None:
    """Set *fields* of a release's row: channel, withdrawn, notes."""
    demand(principal, accounts.RELEASES)
    told, changed = _set(session, [release], fields)
    if changed:
        note(session, principal, "release changed", release.title, told)


def start_rollout(
    session: Session, principal: Principal, release: Release, made: decision.Rollout
) -> Rollout:
    """Begin a roll-out of *release*, as `rollouts.start` does."""
    demand(principal, accounts.ROLLOUTS)
    rollout = rollouts.start(session, release, made)
    phases = ", ".join(f"{phase.percent:g} %" for phase in made.phases)
    what = f"{release.title}: {phases}"
    note(session, principal, "roll-out started", f"roll-out {rollout.id}", what)
    return rollout


MOVES = {"pause": rollouts.hold, "resume": rollouts.resume, "cancel": rollouts.cancel}
_DONE = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}


def move_rollout(session: Session, principal: Principal, rollout: Rollout, move: str) -> None:
    """Pause, resume or cancel a roll-out."""
    demand(principal, accounts.ROLLOUTS)
    MOVES[move](session, rollout)
    rollout.why = f"{_DONE[move]} by {principal.name}, {moment(time.time())}"
    note(session, principal, f"roll-out {_DONE[move]}", f"roll-out {rollout.id}")
