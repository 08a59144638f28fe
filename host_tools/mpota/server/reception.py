"""Answers boards: at once from memory where nothing has changed, else from the database.

Nearly all questions are repeated ones, and the answer is that there is nothing new. They need
neither the database nor a decision. What a board is given is decided and written down in one
transaction.
"""

import hashlib
import hmac
import logging
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeGuard

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from mpota.server import attempts, decision, plan, reports
from mpota.server.database import (
    BAD,
    OPEN,
    Attempt,
    Board,
    Clock,
    Database,
    Rollout,
)
from mpota.server.decision import Arduino, BoardState, Kind, Plan, Release
from mpota.server.images import ImageDirectory
from mpota.server.options import Options
from mpota.server.questions import VERSION, Question

_KNOWN_LIMIT = 200_000  # so many boards' last answers are kept in memory
_SEEN_LIMIT = 200_000  # for so many boards the time when they asked last waits to be written
_RETRIES = 5
# The columns that are written whenever a board asks, in batches.
_SEEN_COLUMNS = ("address", "heap", "uptime_s", "rssi", "boots", "free_space")
_SEEN_NAMES = ("b_mac", "b_last_seen", *(f"b_{name}" for name in _SEEN_COLUMNS))
_log = logging.getLogger("mpota.update")
_SEEN = (
    sa.update(Board)
    .where(Board.mac == sa.bindparam("b_mac"))
    .values({name: sa.bindparam(f"b_{name}") for name in ("last_seen", *_SEEN_COLUMNS)})
)


# A board and those of its updates that count in a decision. It is one statement, since it is run
# for every board on the morning after a power cut.
_LOOK = (
    sa.select(
        Board.mac, Board.state, Board.group_name, Board.channel, Board.assigned, Board.pin_id,
        Board.secret_sha256, Board.application, Board.version, Board.sequence, Board.floor,
        Board.md5, Board.outcome, Board.data_version, Board.data_sha256,
        Attempt.state.label("attempt_state"), Attempt.release_id, Attempt.tries, Attempt.forgiven,
        Attempt.is_data, Attempt.began_running_s, Attempt.rollout_id,
    )
    .outerjoin(
        Attempt, sa.and_(Attempt.board_id == Board.id, Attempt.state.in_((OPEN, *BAD)))
    )
    .where(Board.mac == sa.bindparam("mac"))
)  # fmt: skip


class _Counting(NamedTuple):
    """The columns of an Attempt that count in a decision."""

    state: str
    release_id: int
    tries: int
    forgiven: bool
    is_data: bool
    began_running_s: float
    rollout_id: int | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a board gets: a status and, where there is one, the release; `has_body`: its bytes.

    `base` is the release that the board runs, where it is to get what has changed since alone;
    `may_be_gzip` is whether a gzip of the image will do. `why` is for an operator who reads the
    log.
    """

    status: int
    why: str
    release: Release | None = None
    has_body: bool = False
    wait_s: int = 0
    base: Release | None = None
    may_be_gzip: bool = False


@dataclass(frozen=True, slots=True)
class _State:
    """The plan, and the last answers by it: by board, the question's fingerprint and the reply."""

    revision: int
    plan: Plan
    known: dict[str, tuple[int, Reply]] = field(default_factory=dict)


UNAUTHORIZED = Reply(401, "the secret is missing or wrong")


class Reception:
    """Answers questions of boards for the server with these *options* and this *database*.

    `ask` and `quick` may be called from several threads, as may `refresh` and `flush`.
    """

    def __init__(self, database: Database, options: Options) -> None:
        self.database = database
        self._options = options
        self._arduino = Arduino(options.arduino)
        self._images = ImageDirectory(options.images)
        self._state = _State(-1, Plan())
        self._seen: dict[str, dict[str, object]] = {}
        self._flushing = threading.Lock()

    def quick(self, question: Question) -> Reply | None:
        """Return the answer to the same question before, if nothing has changed; else None."""
        known = self._state.known.get(_key(question))
        if known is None or known[0] != question.fingerprint:
            return None
        self._see(question)
        return known[1]

    def ask(self, question: Question) -> Reply:
        """Return the answer by the database, and write down what the board tells and is given.

        Raises sqlalchemy's errors where the database does not answer.
        """
        if self._state.revision < 0:
            self.refresh()
        try:
            reply = self._read(question)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            reply = self._read(question)  # by another connection: the database was away meanwhile
        for left in reversed(range(_RETRIES)):
            if reply is not None:
                break
            try:
                reply = self._write(question)
            except IntegrityError:  # another worker has registered the same board just now
                if not left:
                    raise
        assert reply is not None
        if reply.status not in (401, 403):
            self._see(question)
        return reply

    def refresh(self) -> bool:
        """Read the plan from the database if it has changed there; return whether it has."""
        with self.database.reading() as session:
            revision = session.scalar(sa.select(Clock.revision))
            if revision == self._state.revision:
                return False
            self._state = _State(*plan.load(session))
        return True

    def flush(self) -> int:
        """Write down when boards asked last; return of how many boards.

        What cannot be written now is written the next time.
        """
        with self._flushing:
            seen, self._seen = self._seen, {}
            if not seen:
                return 0
            try:
                with self.database.writing() as session:
                    # In one order in all workers, so that no two wait for each other.
                    rows = [seen[mac] for mac in sorted(seen)]
                    session.connection().execute(_SEEN, rows)
            except Exception:
                self._seen = dict(list((seen | self._seen).items())[:_SEEN_LIMIT])
                raise
            return len(seen)

    def _see(self, question: Question) -> None:
        seen = self._seen
        if len(seen) < _SEEN_LIMIT:
            values = (getattr(question, name) for name in _SEEN_COLUMNS)
            row = (question.mac, time.time(), *values)
            seen[question.mac] = dict(zip(_SEEN_NAMES, row, strict=True))

    def _read(self, question: Question) -> Reply | None:
        # Returns the answer where nothing need be written down for it, else None.
        state = self._state
        with self.database.looking() as connection:
            rows: list[Any] = list(connection.execute(_LOOK, {"mac": question.mac}))
            if not rows:
                return self._unknown(connection, question)
            is_in_update = any(found.attempt_state == OPEN for found in rows)
            running_s = plan.running_s(connection) if is_in_update else 0.0
        row = rows[0]
        if not self._is_authorized(row, question):
            return UNAUTHORIZED
        application = self._application(row, question, state.plan)
        if reports.is_news(row, question, application):
            return None
        size = len(_Counting._fields)
        counting = [_Counting(*found[-size:]) for found in rows if found.attempt_state]
        board = plan.board(row, counting, question.wants_data, running_s)
        answer = decision.decide(board, state.plan, arduino=self._arduino)
        if question.mode == VERSION:
            return _version(answer)
        if answer.gives_up:
            return None
        if answer.kind == Kind.OFFER and not _has_it(question, answer):
            if board.open is not None or not _is_limited(answer.rollout):
                return None
            # Most boards that are to wait are sent away here: who gets a place is decided with the
            # roll-out locked, one board at a time.
            with self.database.looking() as connection:
                load = attempts.load(connection, answer.rollout, plan.running_s(connection))
            answer = decision.decide(board, state.plan, load, self._arduino)
            if answer.kind != Kind.WAIT:
                return None
        reply = _reply(answer, question)
        is_due = answer.kind in (Kind.OFFER, Kind.WAIT)
        may_change = is_due or _goes_by_data(row, question, state.plan)
        if board.open is None and not may_change and len(state.known) < _KNOWN_LIMIT:
            state.known[_key(question)] = (question.fingerprint, reply)
        return reply

    def _write(self, question: Question) -> Reply:
        now = time.time()
        with self.database.writing() as session:
            row = session.scalar(
                sa.select(Board).where(Board.mac == question.mac).with_for_update()
            )
            if row is None:
                row = self._registered(question, now)
                session.add(row)
                session.flush()
            if not self._is_authorized(row, question):
                return UNAUTHORIZED
            current = self._state.plan
            if session.scalar(sa.select(Clock.revision)) != self._state.revision:
                _, current = plan.load(session)
            application = self._application(row, question, current)
            if reports.is_news(row, question, application):
                reports.take(session, row, question, application, now)
                session.flush()
            running_s = plan.running_s(session.connection())
            counting = attempts.counting(session, row)
            board = plan.board(row, counting, question.wants_data, running_s)
            answer = decision.decide(board, current, arduino=self._arduino)
            going_on = attempts.going_on(counting, question)
            if answer.gives_up and going_on:
                attempts.give_up(going_on, now)
            if question.mode == VERSION:
                return _version(answer)
            if answer.kind != Kind.OFFER or _has_it(question, answer):
                return _reply(answer, question)
            if _is_limited(answer.rollout):
                # Else two workers could both take the last place.
                wanted = sa.select(Rollout.id).where(Rollout.id == answer.rollout.id)
                session.execute(wanted.with_for_update(key_share=True))
                load = attempts.load(session.connection(), answer.rollout, running_s, row.id)
                answer = decision.decide(board, current, load, self._arduino)
            if answer.kind == Kind.OFFER and not self._is_at_hand(answer):
                why, wait_s = "the image is gone", decision.retry_s(board)
                answer = replace(answer, kind=Kind.WAIT, why=why, wait_s=wait_s)
            if answer.kind == Kind.WAIT and going_on:
                going_on.began_running_s = running_s  # the board cannot help that it takes longer
            reply = _reply(answer, question)
            if answer.kind == Kind.OFFER:
                tries = attempts.offer(session, row, going_on, answer, question, running_s, now)
                if tries == 1:  # if that does not work out, the board gets the whole image next
                    base = _base(current, board, reply) if question.takes_delta else None
                    reply = replace(reply, base=base, may_be_gzip=question.takes_gzip)
            return reply

    def _is_at_hand(self, answer: decision.Answer) -> bool:
        # A board is not given what cannot be sent: it would count as a try.
        if self._options.images_url:
            return True
        assert answer.release is not None
        try:
            self._images.check(answer.release.sha256)
        except OSError as error:
            _log.error("an image is gone: %s", error)
            return False
        return True

    def _unknown(self, connection: sa.Connection, question: Question) -> Reply | None:
        if self._options.board_secrets or not self._has_fleet_secret(question):
            return UNAUTHORIZED
        if self._options.unknown == "refuse":
            return Reply(403, "the board is not known")
        if self._options.unknown == "pending":
            waiting = connection.scalar(
                sa.select(sa.func.count()).where(Board.state == BoardState.PENDING)
            )
            if (waiting or 0) >= self._options.pending_limit:
                return Reply(403, "too many boards wait to be accepted")
        return None

    def _registered(self, question: Question, now: float) -> Board:
        accepts = self._options.unknown == "accept"
        return Board(
            mac=question.mac,
            state=BoardState.ACCEPTED if accepts else BoardState.PENDING,
            first_seen=now,
            last_seen=now,
            address=question.address,
        )

    def _is_authorized(self, row: Board, question: Question) -> bool:
        if row.secret_sha256:
            return hmac.compare_digest(_sha256(question.secret), row.secret_sha256)
        return not self._options.board_secrets and self._has_fleet_secret(question)

    def _has_fleet_secret(self, question: Question) -> bool:
        wanted = self._options.fleet_secret_sha256
        return not wanted or hmac.compare_digest(_sha256(question.secret), wanted)

    def _application(self, row: Board, question: Question, current: Plan) -> str:
        if question.application or row.assigned:
            return question.application or row.assigned
        names = {release.application for release in current.releases.values()}
        return names.pop() if len(names) == 1 else ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("latin-1", "replace")).hexdigest()


def _is_limited(rollout: decision.Rollout | None) -> TypeGuard[decision.Rollout]:
    return rollout is not None and (
        rollout.downloads_at_once is not None or rollout.downloads_per_minute is not None
    )


def _base(current: Plan, board: decision.Board, reply: Reply) -> Release | None:
    # Returns the release that the board says it runs. If another image of that number runs, the
    # board refuses the delta, and gets the whole image the next time.
    wanted = reply.release
    if wanted is None or wanted.is_data or wanted.md5 != wanted.content_md5:
        return None
    for release in current.releases.values():
        if not release.is_data and (release.application, release.sequence) == (
            board.application, board.sequence,
        ):  # fmt: skip
            return release
    return None


def _goes_by_data(row: Any, question: Question, current: Plan) -> bool:
    # Returns whether the answer depends on the data that the board told when it asked for data.
    # Another worker may have been told of others meanwhile: such an answer is not remembered.
    return (
        question.data is None
        and row.data_sha256 is not None
        and any(release.data and not release.is_data for release in current.releases.values())
    )


def _key(question: Question) -> str:
    # A board may ask for data as well as for an application: both answers are remembered.
    return f"{question.mac} data" if question.wants_data else question.mac


def _has_it(question: Question, answer: decision.Answer) -> bool:
    # The board tells the tag of the file that it runs, or has taken back.
    release = answer.release
    return release is not None and question.if_none_match == f'"{release.md5}"'


def _version(answer: decision.Answer) -> Reply:
    if answer.kind == Kind.REFUSED:
        return Reply(403, answer.why)
    if answer.release is None:
        return Reply(404, answer.why)
    return Reply(200, "its version", answer.release)


def _reply(answer: decision.Answer, question: Question) -> Reply:
    match answer.kind:
        case Kind.REFUSED:
            return Reply(403, answer.why)
        case Kind.UNKNOWN:
            return Reply(404, answer.why)
        case Kind.WAIT:
            return Reply(503, answer.why, wait_s=answer.wait_s)
        case Kind.OFFER if not _has_it(question, answer):
            return Reply(200, answer.why, answer.release, has_body=True)
        case _:
            return Reply(304, answer.why, answer.release)
