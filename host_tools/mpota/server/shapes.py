"""The shapes of what the API takes and gives; its OpenAPI description is made of them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from mpota.server.database import DATA, Attempt, Audit, Board, Operator, Release, Rollout, Token
from mpota.server.decision import Counts

# The end of a text. In Python, with which msgspec checks, a $ alone would also allow one line end
# after the text; in JavaScript, by whose rules OpenAPI's patterns are read, this is the same as $.
_END = r"$(?!\n)"

Mac = Annotated[str, Meta(pattern="^[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}" + _END, max_length=17)]
Name = Annotated[str, Meta(pattern="^[!-~]{1,32}" + _END)]
NAME_OR_NONE = "^[!-~]{0,32}" + _END
NameOrNone = Annotated[str, Meta(pattern=NAME_OR_NONE)]
Text = Annotated[str, Meta(pattern="^[ -~\u00a1-\u024f\u2010-\u2027]{0,64}" + _END)]
Notes = Annotated[str, Meta(pattern="^[ -~\u00a1-\u024f\u2010-\u2027]{0,500}" + _END)]
Number = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Limit = Annotated[int, Meta(ge=1, le=500)]
AttemptState = Literal["open", "confirmed", "reverted", "failed", "timed out", "replaced"]
Seconds = Annotated[float, Meta(ge=0, le=10**9)]
Moment = Annotated[float, Meta(ge=0, le=10**11)]
Percent = Annotated[float, Meta(gt=0, le=100)]
Share = Annotated[float, Meta(ge=0, le=1)]
Scope = Literal["read", "boards", "releases", "rollouts", "admin"]
State = Literal["pending", "accepted", "refused"]
Password = Annotated[str, Meta(min_length=10, max_length=200)]


class Problem(Struct):
    """Why nothing was done, in one line."""

    error: str
    message: str


class BoardShape(Struct):
    """A board: what operators have set, and what the board has told last."""

    mac: str
    state: str
    label: str
    group: str
    channel: str
    application: str
    assigned: str
    version: str | None
    sequence: int | None
    pin: int | None
    has_secret: bool
    data_version: str | None
    data_sha256: str | None
    outcome: str
    sdk: str
    address: str
    heap: int | None
    rssi: int | None
    uptime_s: int | None
    boots: int | None
    free_space: int | None
    first_seen: float | None
    last_seen: float | None


class BoardList(Struct):
    """Boards in the order of their MAC addresses; `next` is where the following page starts."""

    boards: list[BoardShape]
    next: str | None


class BoardSecret(Struct):
    """A board's new secret, which is shown this once."""

    mac: str
    secret: str


class BoardChange(Struct, forbid_unknown_fields=True):
    """What to change of a board; what is left out stays as it is. A pin of null takes it away."""

    state: State | UnsetType = UNSET
    label: Text | UnsetType = UNSET
    group: NameOrNone | UnsetType = UNSET
    channel: Name | UnsetType = UNSET
    assigned: NameOrNone | UnsetType = UNSET
    pin: Number | None | UnsetType = UNSET

    def columns(self) -> dict[str, object]:
        """Return the columns to set."""
        names = {"group": "group_name", "pin": "pin_id"}
        found = {name: getattr(self, name) for name in BoardChange.__struct_fields__}
        return {names.get(k, k): v for k, v in found.items() if v is not UNSET}


class BoardsChange(BoardChange, forbid_unknown_fields=True, kw_only=True):
    """What to change of several boards."""

    macs: Annotated[list[Mac], Meta(min_length=1, max_length=1000)]


class NewBoard(BoardChange, forbid_unknown_fields=True, kw_only=True):
    """A board that is accepted before it asks for the first time."""

    mac: Mac


class Changed(Struct):
    """How many boards were changed."""

    count: int


class Retried(Struct):
    """How many updates a board may try again, and how many the board itself has taken back.

    A board refuses what it has taken back: another release with a higher sequence is needed.
    """

    count: int
    taken_back: int


class AttemptShape(Struct):
    """A release that a board was given, and how that ended, with the board's own words."""

    id: int
    mac: str
    release: int
    application: str
    version: str
    rollout: int | None
    is_data: bool
    state: str
    words: str
    was: str
    tries: int
    forgiven: bool
    offered: float
    ended: float | None


class AttemptList(Struct):
    """Updates, the newest first; the following page has those before `next`."""

    attempts: list[AttemptShape]
    next: int | None


class ReleaseShape(Struct):
    """A release; `md5` and `sha256` are of the file, `content_…` of what is in it.

    `kind` is "application", "sketch" or "data". `data_sha256` of data is what boards tell of them;
    of an application it is that of the data that it names.
    """

    id: int
    application: str
    version: str
    sequence: int
    kind: str
    channel: str
    downgrade: bool
    withdrawn: bool
    signed_by: str
    notes: str
    size_bytes: int
    encoding: str
    md5: str
    sha256: str
    content_md5: str
    content_sha256: str
    data_sha256: str
    created: float


class ReleaseList(Struct):
    """Releases, the newest first; the following page has those before `next`."""

    releases: list[ReleaseShape]
    next: int | None


class ReleaseChange(Struct, forbid_unknown_fields=True):
    """What to change of a release; what is left out stays as it is."""

    channel: Name | UnsetType = UNSET
    withdrawn: bool | UnsetType = UNSET
    notes: Notes | UnsetType = UNSET

    def columns(self) -> dict[str, object]:
        """Return the columns to set."""
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {k: v for k, v in found.items() if v is not UNSET}


class UploadQuery(Struct):
    """What a sketch and a data image do not say of themselves, as an application's image does."""

    application: NameOrNone = ""
    version: NameOrNone = ""
    sequence: Annotated[int, Meta(ge=0, le=2**30 - 1)] = 0
    channel: Name = "stable"
    notes: Notes = ""


class PhaseShape(Struct, forbid_unknown_fields=True):
    """A step of a roll-out: when it has lasted `soak_s` and `needed` boards have confirmed it."""

    percent: Percent = 100.0
    soak_s: Seconds = 0.0
    needed: Count = 1
    groups: Annotated[list[Name], Meta(max_length=50)] = []


class NewRollout(Struct, forbid_unknown_fields=True, kw_only=True):
    """A roll-out to begin. It stops when more than `abort_share` of the boards did not keep it."""

    release: Number
    phases: Annotated[list[PhaseShape], Meta(min_length=1, max_length=20)] = msgspec.field(
        default_factory=lambda: [PhaseShape()]
    )
    groups: Annotated[list[Name], Meta(max_length=50)] = []
    starts_at: Moment | None = None
    downloads_at_once: Number | None = None
    downloads_per_minute: Number | None = None
    abort_share: Share = 0.2
    abort_minimum: Number = 5
    tries: Annotated[int, Meta(ge=1, le=100)] = 3
    timeout_s: Annotated[float, Meta(gt=0, le=10**8)] = 86400.0


class CountsShape(Struct):
    """How the updates of a roll-out have ended, and how many go on."""

    confirmed: int
    reverted: int
    failed: int
    timed_out: int
    open: int


class RolloutShape(Struct):
    """A roll-out; `phase` counts from 0, `why` tells in words the reason of its state."""

    id: int
    release: int
    application: str
    version: str
    is_data: bool
    state: str
    why: str
    phase: int
    phases: list[PhaseShape]
    groups: list[str]
    soaked_s: float
    starts_at: float | None
    downloads_at_once: int | None
    downloads_per_minute: int | None
    abort_share: float
    abort_minimum: int
    tries: int
    timeout_s: float
    created: float
    ended: float | None
    counts: CountsShape


class RolloutList(Struct):
    """Roll-outs, the newest first; the following page has those before `next`."""

    rollouts: list[RolloutShape]
    next: int | None


class TokenShape(Struct):
    """A token, without its text."""

    id: int
    name: str
    operator: str
    scopes: list[str]
    created: float
    expires: float | None


class NewToken(Struct, forbid_unknown_fields=True):
    """A token to make; it ends after `days`, or never where they are null.

    Without scopes it may do all that its operator may.
    """

    name: Text
    scopes: Annotated[list[Scope], Meta(max_length=5)]
    days: Annotated[int, Meta(ge=1, le=3650)] | None = 365


class Login(Struct, forbid_unknown_fields=True):
    """An operator's name and password, in exchange for a token.

    A first password, which somebody else has chosen, is taken with a new one alone.
    """

    name: Text
    password: Annotated[str, Meta(max_length=200)]
    token: NewToken
    new_password: Password | None = None


class TokenText(TokenShape):
    """A new token, with its text, which is shown this once."""

    text: str = ""


class TokenList(Struct):
    """Tokens, the newest first; the following page has those before `next`."""

    tokens: list[TokenShape]
    next: int | None


class OperatorShape(Struct):
    """Somebody who may log in."""

    name: str
    scopes: list[str]
    must_change: bool
    created: float


class OperatorList(Struct):
    """Everybody who may log in."""

    operators: list[OperatorShape]


class NewOperator(Struct, forbid_unknown_fields=True):
    """Somebody who may log in, and must choose another password with the first login."""

    name: Name
    password: Password
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=5)]


class AuditShape(Struct):
    """What an operator has done; where `operator` is empty, the server by itself."""

    id: int
    at: float
    operator: str
    address: str
    what: str
    target: str
    detail: str


class AuditList(Struct):
    """What was done, the latest first; the following page has the entries before `next`."""

    entries: list[AuditShape]
    next: int | None


def board(row: Board) -> BoardShape:
    """Return the shape of a board."""
    values: dict[str, Any] = {n: getattr(row, n, None) for n in BoardShape.__struct_fields__}
    values |= {"group": row.group_name, "pin": row.pin_id, "has_secret": bool(row.secret_sha256)}
    return BoardShape(**values)


def attempt(row: Attempt) -> AttemptShape:
    """Return the shape of an update."""
    return AttemptShape(
        id=row.id,
        mac=row.board.mac,
        release=row.release_id,
        application=row.release.application,
        version=row.release.version,
        rollout=row.rollout_id,
        is_data=row.is_data,
        state=row.state,
        words=row.words,
        was=row.was,
        tries=row.tries,
        forgiven=row.forgiven,
        offered=row.offered,
        ended=row.ended,
    )


def release(row: Release) -> ReleaseShape:
    """Return the shape of a release."""
    blob = row.blob
    values = {
        name: getattr(row, name) if hasattr(row, name) else getattr(blob, name)
        for name in ReleaseShape.__struct_fields__
    }
    return ReleaseShape(**values)


def rollout(row: Rollout, counts: Counts) -> RolloutShape:
    """Return the shape of a roll-out."""
    values = {
        name: getattr(row, name)
        for name in RolloutShape.__struct_fields__
        if name not in ("release", "application", "version", "is_data", "phases", "counts")
    }
    return RolloutShape(
        **values,
        release=row.release_id,
        application=row.release.application,
        version=row.release.version,
        is_data=row.release.kind == DATA,
        phases=[PhaseShape(p.percent, p.soak_s, p.needed, p.groups) for p in row.phases],
        counts=CountsShape(
            counts.confirmed, counts.reverted, counts.failed, counts.timed_out, counts.open
        ),
    )


def token(row: Token) -> TokenShape:
    """Return the shape of a token."""
    return TokenShape(row.id, row.name, row.operator.name, row.scopes, row.created, row.expires)


def operator(row: Operator) -> OperatorShape:
    """Return the shape of an operator."""
    return OperatorShape(row.name, row.scopes, row.must_change, row.created)


def audit(row: Audit) -> AuditShape:
    """Return the shape of an entry of the audit."""
    return AuditShape(row.id, row.at, row.operator, row.address, row.what, row.target, row.detail)
