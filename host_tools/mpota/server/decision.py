"""What a board gets, and when a roll-out goes on or stops: pure functions, without a database.

`decide` is called for every question of a board, `advance` for every roll-out once a tick. Both use
nothing but their arguments, so that all rules stand here and are tested by themselves.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_CHANNEL = "stable"
DEFAULT_TRIES = 3  # downloads of a release by one board, before it counts as failed
# So long an update goes on at least before it counts as failed. A board whose application does not
# let it restart now, while it waters a garden say, asks three times within four minutes.
SHORTEST_S = 3600.0


class Arduino(StrEnum):
    """Which of the Arduino world's two sample servers is followed for boards that are not ours.

    Both go by the version where a board sends one. Where it sends none, `CLASSIC` compares the MD5
    of what runs, and `CURRENT` has nothing for it.
    """

    CLASSIC = "classic"
    CURRENT = "current"


class BoardState(StrEnum):
    """Whether a board may have updates; a `PENDING` one waits until an operator accepts it."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class RolloutState(StrEnum):
    """A roll-out's life: boards get its release while it is `RUNNING` or `COMPLETE`."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    ABORTED = "aborted"


GIVING = frozenset({RolloutState.RUNNING, RolloutState.COMPLETE})
ENDED = frozenset({RolloutState.CANCELLED, RolloutState.ABORTED})


@dataclass(frozen=True, slots=True)
class Release:
    """An image that boards can get.

    `md5` is of what is sent, `content_md5` of what is in it: they differ where it is compressed.
    `downgrade` is what its MANIFEST says: a board may take it below its floor. With `is_data` it is
    an image of data, and `data` is its SHA-256 without a signature; else `data` is how the SHA-256
    of the data begins that the application names, empty where it names none.
    """

    id: int
    application: str
    version: str
    sequence: int
    md5: str
    content_md5: str
    size_bytes: int
    sha256: str
    channel: str = DEFAULT_CHANNEL
    downgrade: bool = False
    withdrawn: bool = False
    is_data: bool = False
    data: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of a roll-out: so many *percent* of the boards in *groups*, all of them if empty.

    It ends when it has lasted for `soak_s` seconds and `needed` boards have confirmed the release.
    """

    percent: float = 100.0
    soak_s: float = 0.0
    needed: int = 1
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a release comes to its boards; `phase` counts `phases` from 0.

    Only boards in `groups` take part, all if it is empty. `starts_at` is a time of day, in seconds
    since 1970. Limits that are None do not exist.
    """

    id: int
    release_id: int
    state: RolloutState = RolloutState.RUNNING
    phases: tuple[Phase, ...] = (Phase(),)
    phase: int = 0
    groups: frozenset[str] = frozenset()
    starts_at: float | None = None
    downloads_at_once: int | None = None
    downloads_per_minute: int | None = None
    abort_share: float = 0.2
    abort_minimum: int = 5
    tries: int = DEFAULT_TRIES
    timeout_s: float = 86400.0


@dataclass(frozen=True, slots=True)
class Try:
    """The update that a board was sent and has not told the end of.

    `count` are its downloads; `age_s` is for how long it has gone on, in the server's own time;
    `rollout_id` is the roll-out that it came by, None for a pin.
    """

    release_id: int
    count: int = 1
    age_s: float = 0.0
    rollout_id: int | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """A board as it asks, with what is known of it.

    `sequence` is None for a board that tells none, such as an Arduino sketch; `md5` is of what
    runs. `floor` is the highest sequence that the board has confirmed of this application.
    `failed` are the ids of releases whose update failed there. `pin` is the id of the only release
    that the board may have. `data` is how the SHA-256 of its data begins, empty where it has none,
    None where it does not tell. With `wants_data`, it asks for data: `version` is then that of its
    data, and `open` such an update.
    """

    mac: str
    application: str
    version: str | None = None
    sequence: int | None = None
    md5: str = ""
    state: BoardState = BoardState.ACCEPTED
    channel: str = DEFAULT_CHANNEL
    group: str = ""
    pin: int | None = None
    floor: int = 0
    failed: frozenset[int] = frozenset()
    open: Try | None = None
    data: str | None = None
    wants_data: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """How many downloads of a roll-out go on, and how many have begun in the last minute."""

    at_once: int = 0
    last_minute: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """All releases, by their ids, and all roll-outs."""

    releases: Mapping[int, Release] = field(default_factory=dict)
    rollouts: tuple[Rollout, ...] = ()


class Kind(StrEnum):
    """What kind of answer a board gets."""

    OFFER = "offer"
    NOTHING = "nothing"
    WAIT = "wait"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a board gets and `why`, in words for an operator.

    An `OFFER` has the release, and the roll-out that it comes by, None for a pin. `NOTHING` has the
    release that the board is to run, where there is one. `WAIT` has the seconds. `gives_up` is set
    where the board has begun so many downloads of the release, for so long, that its update counts
    as failed.
    """

    kind: Kind
    why: str
    release: Release | None = None
    rollout: Rollout | None = None
    wait_s: int = 0
    gives_up: bool = False


# A board that finds a limit reached comes back after so long, and up to twice as long: each board
# at a time of its own.
_RETRY_S = 60


def share_of(mac: str, rollout_id: int) -> float:
    """Return the place of a board in a roll-out, from 0 up to 1, which never changes.

    Each roll-out has an order of its own, so that not always the same boards go first.
    """
    digest = hashlib.sha256(f"{rollout_id}:{mac}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def includes(rollout: Rollout, board: Board) -> bool:
    """Return whether the roll-out has come to the board.

    A board that a phase includes stays included: later phases only add boards.
    """
    if rollout.groups and board.group not in rollout.groups:
        return False
    share = 100 * share_of(board.mac, rollout.id)
    return any(
        share < phase.percent and (not phase.groups or board.group in phase.groups)
        for phase in rollout.phases[: rollout.phase + 1]
    )


def decide(
    board: Board,
    plan: Plan,
    load: Mapping[int, Load] | None = None,
    arduino: Arduino = Arduino.CLASSIC,
) -> Answer:
    """Return what *board* gets.

    *load* maps ids of roll-outs to their downloads; without it no limit counts. *arduino* is the
    sample server whose rules count for sketches.
    """
    if board.state == BoardState.REFUSED:
        return Answer(Kind.REFUSED, "the board is refused")
    if board.state == BoardState.PENDING:
        return Answer(Kind.NOTHING, "the board waits to be accepted")
    pin = plan.releases.get(board.pin or 0)
    if board.pin is not None and (pin is None or pin.is_data == board.wants_data):
        return _pinned(board, pin, plan, arduino)
    if not any(_is_for(release, board) for release in plan.releases.values()):
        what = "data" if board.wants_data else "release"
        return Answer(Kind.UNKNOWN, f"there is no {what} of {board.application or 'anything'}")
    choices = list(_choices(board, plan))
    if not choices:
        return Answer(Kind.NOTHING, "no roll-out has come to this board")
    release, rollout = max(choices, key=lambda choice: (choice[0].sequence, -choice[1].id))
    if not _is_news(board, release, arduino):
        return Answer(Kind.NOTHING, f"the board runs {release.version}", release)
    if _is_used_up(board, release, rollout):
        return _given_up(release)
    if wait := _limit_reached(rollout, (load or {}).get(rollout.id, Load())):
        return Answer(Kind.WAIT, wait, release, rollout, retry_s(board))
    return Answer(Kind.OFFER, f"roll-out {rollout.id}", release, rollout)


def _is_for(release: Release, board: Board) -> bool:
    return release.application == board.application and release.is_data == board.wants_data


def _pinned(board: Board, release: Release | None, plan: Plan, arduino: Arduino) -> Answer:
    if release is None or release.withdrawn or release.application != board.application:
        return Answer(Kind.NOTHING, "the board is pinned to a release that it cannot have")
    if not _is_news(board, release, arduino):
        return Answer(
            Kind.NOTHING, f"the board runs {release.version}, which it is pinned to", release
        )
    if release.id in board.failed:
        return Answer(Kind.NOTHING, f"{release.version} failed on this board", release)
    if release.sequence < _floor(board, plan) and not release.downgrade:
        return Answer(Kind.NOTHING, f"{release.version} is below the board's floor", release)
    if not _fits_data(board, release, plan):
        return Answer(Kind.NOTHING, f"{release.version} does not fit the board's data", release)
    if _is_used_up(board, release, None):
        return _given_up(release)
    return Answer(Kind.OFFER, "pinned", release)


def _choices(board: Board, plan: Plan) -> Iterable[tuple[Release, Rollout]]:
    # The releases that roll-outs have brought to the board; one of them may run on it already.
    for rollout in plan.rollouts:
        release = plan.releases.get(rollout.release_id)
        if (
            release is not None
            and rollout.state in GIVING
            and not release.withdrawn
            and _is_for(release, board)
            and release.channel == board.channel
            and release.id not in board.failed
            and release.sequence >= _floor(board, plan)
            and _fits_data(board, release, plan)
            and includes(rollout, board)
        ):
            yield release, rollout


def _floor(board: Board, plan: Plan) -> int:
    if not board.wants_data:
        return max(board.floor, board.sequence or 0)
    # Boards keep no floor of their data. Roll-outs bring no older data all the same.
    has = (r.sequence for r in plan.releases.values() if _is_for(r, board) and _has(board, r))
    return max(has, default=0)


def _has(board: Board, release: Release) -> bool:
    # Returns whether the board says that it has this release of data.
    if board.data is not None:
        return bool(board.data) and release.data.startswith(board.data)
    return board.version == release.version


def _fits_data(board: Board, release: Release, plan: Plan) -> bool:
    # A board refuses an application that names other data than it has, and data that the
    # application that runs does not name.
    if board.data is None:
        return True
    if not release.is_data:
        return not release.data or (bool(board.data) and _is_same(board.data, release.data))
    for other in plan.releases.values():
        if (
            not other.is_data
            and other.application == board.application
            and other.sequence == board.sequence
        ):
            return release.data.startswith(other.data)
    return True


def _is_same(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _is_news(board: Board, release: Release, arduino: Arduino) -> bool:
    if board.wants_data:
        # A sketch that does not say which data it has would be sent the same for ever.
        return not _has(board, release) and (board.data is not None or board.version is not None)
    if board.sequence is not None:
        return board.sequence != release.sequence
    if board.version is not None:
        return board.version != release.version
    if arduino == Arduino.CURRENT:
        return False
    return board.md5 not in (release.md5, release.content_md5)


def _is_used_up(board: Board, release: Release, rollout: Rollout | None) -> bool:
    # What came by another roll-out, which was cancelled, does not count in this one.
    going_on = board.open
    return (
        going_on is not None
        and going_on.release_id == release.id
        and going_on.rollout_id == (rollout.id if rollout else None)
        and going_on.count >= (rollout.tries if rollout else DEFAULT_TRIES)
        and going_on.age_s >= SHORTEST_S
    )


def _given_up(release: Release) -> Answer:
    why = f"{release.version} was sent, and the board does not run it"
    return Answer(Kind.NOTHING, why, release, gives_up=True)


def _limit_reached(rollout: Rollout, load: Load) -> str:
    at_once, per_minute = rollout.downloads_at_once, rollout.downloads_per_minute
    if at_once is not None and load.at_once >= at_once:
        return f"{load.at_once} downloads go on"
    if per_minute is not None and load.last_minute >= per_minute:
        return f"{load.last_minute} downloads have begun in this minute"
    return ""


def retry_s(board: Board) -> int:
    """Return after how many seconds a board that cannot have its update yet comes back."""
    return _RETRY_S + int(_RETRY_S * share_of(board.mac, 0))


@dataclass(frozen=True, slots=True)
class Counts:
    """How the updates of a roll-out have ended so far, and how many go on."""

    confirmed: int = 0
    reverted: int = 0
    failed: int = 0
    timed_out: int = 0
    open: int = 0

    @property
    def bad(self) -> int:
        """How many did not end as confirmed."""
        return self.reverted + self.failed + self.timed_out

    @property
    def finished(self) -> int:
        """How many have ended."""
        return self.confirmed + self.bad


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of a roll-out: its state and phase from now on, and the reason in words."""

    state: RolloutState
    phase: int
    why: str


def advance(rollout: Rollout, counts: Counts, soaked_s: float, now: float) -> Step | None:
    """Return what becomes of *rollout* at *now*; None where nothing changes.

    *soaked_s* is for how many seconds its phase has run, pauses not counted.
    """
    if rollout.state in (RolloutState.SCHEDULED, RolloutState.RUNNING, RolloutState.COMPLETE):
        bad, finished = counts.bad, counts.finished
        if finished >= max(1, rollout.abort_minimum) and bad > rollout.abort_share * finished:
            return Step(
                RolloutState.ABORTED,
                rollout.phase,
                f"{bad} of {finished} boards did not keep the release, "
                f"more than {100 * rollout.abort_share:g} %: "
                f"{counts.reverted} took it back, {counts.failed} failed, "
                f"{counts.timed_out} timed out",
            )
    if rollout.state == RolloutState.SCHEDULED:
        if rollout.starts_at is None or now >= rollout.starts_at:
            return Step(RolloutState.RUNNING, 0, "it is time")
        return None
    if rollout.state != RolloutState.RUNNING:
        return None
    if not _has_soaked(rollout, soaked_s) or waits_for_boards(rollout, counts, soaked_s):
        return None
    if rollout.phase + 1 < len(rollout.phases):
        following = rollout.phase + 1
        share = rollout.phases[following].percent
        return Step(RolloutState.RUNNING, following, f"phase {following + 1}: {share:g} %")
    return Step(RolloutState.COMPLETE, rollout.phase, "its last phase is over")


def waits_for_boards(rollout: Rollout, counts: Counts, soaked_s: float) -> bool:
    """Return whether a phase has lasted long enough, and too few boards have confirmed yet."""
    return (
        rollout.state == RolloutState.RUNNING
        and _has_soaked(rollout, soaked_s)
        and counts.confirmed < rollout.phases[rollout.phase].needed
    )


def _has_soaked(rollout: Rollout, soaked_s: float) -> bool:
    return soaked_s >= rollout.phases[rollout.phase].soak_s
