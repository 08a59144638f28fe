"""What the server remembers: the tables, and the connection to a database.

Times are seconds since 1970, except those that end in `_running_s`: they are seconds of the
server's own running time (see `Clock`), which no change of the computer's clock disturbs.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from mpota.errors import CommandError
from mpota.server.decision import DEFAULT_CHANNEL, DEFAULT_TRIES, BoardState, RolloutState

_BUSY_S = 30  # so long a writer of SQLite waits for another one
_ADVISORY_LOCK = 0x6D706F74  # "mpot": whoever holds it does the work that one worker must do alone
APPLICATION, SKETCH, DATA = "application", "sketch", "data"  # kinds of releases


class Base(DeclarativeBase):
    """The tables of the server."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {float: sa.Double()}


class Clock(Base):
    """One row: the server's own time, and a number that grows when the plan changes.

    `running_s` counts the seconds in which some worker has ticked; `wall` is when that was last.
    `revision` grows with whatever changes what boards get, but for what boards themselves tell.
    """

    __tablename__ = "clock"

    id: Mapped[int] = mapped_column(primary_key=True)
    wall: Mapped[float] = mapped_column(default=0.0)
    running_s: Mapped[float] = mapped_column(default=0.0)
    revision: Mapped[int] = mapped_column(default=0)


class Board(Base):
    """A board: what operators have set, and what the board has told last.

    `mac` has 12 hex digits. `sequence` is None where the board tells none. `floor` is the highest
    sequence of `application` that it has confirmed. `data_sha256` is how the SHA-256 begins of the
    image that its folder /data came from, None where the board does not tell; `data_version` is the
    version that the board told when it asked for data last.
    """

    __tablename__ = "boards"

    id: Mapped[int] = mapped_column(primary_key=True)
    mac: Mapped[str] = mapped_column(sa.String(12), unique=True)
    state: Mapped[str] = mapped_column(sa.String(16), default=BoardState.PENDING, index=True)
    label: Mapped[str] = mapped_column(sa.String(64), default="")
    group_name: Mapped[str] = mapped_column(sa.String(32), default="", index=True)
    channel: Mapped[str] = mapped_column(sa.String(32), default=DEFAULT_CHANNEL)
    assigned: Mapped[str] = mapped_column(sa.String(32), default="")
    pin_id: Mapped[int | None] = mapped_column(ForeignKey("releases.id"))
    secret_sha256: Mapped[str | None] = mapped_column(sa.String(64))
    application: Mapped[str] = mapped_column(sa.String(32), default="")
    version: Mapped[str | None] = mapped_column(sa.String(64))
    sequence: Mapped[int | None]
    floor: Mapped[int] = mapped_column(default=0)
    md5: Mapped[str] = mapped_column(sa.String(32), default="")
    data_version: Mapped[str | None] = mapped_column(sa.String(64))
    data_sha256: Mapped[str | None] = mapped_column(sa.String(64))
    outcome: Mapped[str] = mapped_column(sa.String(200), default="")
    sdk: Mapped[str] = mapped_column(sa.String(64), default="")
    free_space: Mapped[int | None] = mapped_column(sa.BigInteger)
    chip_size: Mapped[int | None] = mapped_column(sa.BigInteger)
    boots: Mapped[int | None]
    heap: Mapped[int | None]
    uptime_s: Mapped[int | None] = mapped_column(sa.BigInteger)
    rssi: Mapped[int | None]
    address: Mapped[str] = mapped_column(sa.String(64), default="")
    first_seen: Mapped[float | None]
    last_seen: Mapped[float | None] = mapped_column(index=True)
    pin: Mapped["Release | None"] = relationship()


class Blob(Base):
    """A file in the directory of images, by its SHA-256; `content_…` is of what is in it.

    They differ where `encoding` is not empty: it says how the content is compressed.
    """

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    md5: Mapped[str] = mapped_column(sa.String(32))
    size_bytes: Mapped[int]
    encoding: Mapped[str] = mapped_column(sa.String(8), default="")
    content_sha256: Mapped[str] = mapped_column(sa.String(64))
    content_md5: Mapped[str] = mapped_column(sa.String(32))
    content_bytes: Mapped[int]


class Release(Base):
    """A version of an application or of its data, and its image.

    `kind` is "application", "sketch" or "data". `data_sha256` of data is the SHA-256 of the image
    without its signature; of an application it is how the SHA-256 of the data begins that its
    MANIFEST names.
    """

    __tablename__ = "releases"
    __table_args__ = (
        UniqueConstraint("application", "kind", "sequence", name="uq_releases_sequence"),
        UniqueConstraint("application", "kind", "version", name="uq_releases_version"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    application: Mapped[str] = mapped_column(sa.String(32))
    version: Mapped[str] = mapped_column(sa.String(32))
    sequence: Mapped[int]
    kind: Mapped[str] = mapped_column(sa.String(16))
    channel: Mapped[str] = mapped_column(sa.String(32), default=DEFAULT_CHANNEL)
    downgrade: Mapped[bool] = mapped_column(default=False)
    withdrawn: Mapped[bool] = mapped_column(default=False)
    signed_by: Mapped[str] = mapped_column(sa.String(64), default="")
    data_sha256: Mapped[str] = mapped_column(sa.String(64), default="", server_default="")
    notes: Mapped[str] = mapped_column(sa.Text, default="")
    blob_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    created: Mapped[float]
    blob: Mapped[Blob] = relationship(lazy="joined", innerjoin=True)

    @property
    def title(self) -> str:
        """What people call the release: the application, and the version of it or of its data."""
        return f"{self.application} {'data ' if self.kind == DATA else ''}{self.version}"


class Rollout(Base):
    """How a release comes to its boards; `why` tells in words the reason of its state."""

    __tablename__ = "rollouts"

    id: Mapped[int] = mapped_column(primary_key=True)
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"), index=True)
    state: Mapped[str] = mapped_column(sa.String(16), default=RolloutState.RUNNING)
    why: Mapped[str] = mapped_column(sa.Text, default="")
    groups: Mapped[list[str]] = mapped_column(sa.JSON, default=list)
    starts_at: Mapped[float | None]
    phase: Mapped[int] = mapped_column(default=0)
    soaked_s: Mapped[float] = mapped_column(default=0.0)
    downloads_at_once: Mapped[int | None]
    downloads_per_minute: Mapped[int | None]
    abort_share: Mapped[float]
    abort_minimum: Mapped[int]
    tries: Mapped[int] = mapped_column(default=DEFAULT_TRIES)
    timeout_s: Mapped[float]
    created: Mapped[float]
    ended: Mapped[float | None]
    release: Mapped[Release] = relationship(lazy="joined", innerjoin=True)
    phases: Mapped[list["Phase"]] = relationship(
        order_by="Phase.number", cascade="all, delete-orphan", lazy="selectin"
    )


class Phase(Base):
    """A step of a roll-out; `number` counts from 0."""

    __tablename__ = "phases"

    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    percent: Mapped[float]
    soak_s: Mapped[float] = mapped_column(default=0.0)
    needed: Mapped[int] = mapped_column(default=0)
    groups: Mapped[list[str]] = mapped_column(sa.JSON, default=list)
    began: Mapped[float | None]


OPEN, CONFIRMED, REVERTED, FAILED, TIMED_OUT, REPLACED = ATTEMPT_STATES = (
    "open", "confirmed", "reverted", "failed", "timed out", "replaced",
)  # fmt: skip
BAD = (REVERTED, FAILED, TIMED_OUT)


class Attempt(Base):
    """A release that a board was given, and what became of it; `words` are the board's own.

    `tries` counts the downloads that have begun; `offered_running_s` is when the last one did.
    `forgiven` is set when an operator lets the board try again what failed there. `is_data` is
    whether the release is one of data: a board may have one such update and one of its application
    going on.
    """

    __tablename__ = "attempts"
    __table_args__ = (
        Index(
            "uq_attempts_open",
            "board_id",
            "is_data",
            unique=True,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        ),
        Index("ix_attempts_rollout", "rollout_id", "state", "forgiven"),
        Index("ix_attempts_board", "board_id", "offered"),
        Index("ix_attempts_load", "rollout_id", "offered_running_s"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    board_id: Mapped[int] = mapped_column(ForeignKey("boards.id", ondelete="CASCADE"))
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"))
    rollout_id: Mapped[int | None] = mapped_column(ForeignKey("rollouts.id"))
    state: Mapped[str] = mapped_column(sa.String(16), default=OPEN)
    words: Mapped[str] = mapped_column(sa.String(200), default="")
    was: Mapped[str] = mapped_column(sa.String(64), default="")
    tries: Mapped[int] = mapped_column(default=1)
    forgiven: Mapped[bool] = mapped_column(default=False)
    is_data: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    began_running_s: Mapped[float]
    offered_running_s: Mapped[float]
    offered: Mapped[float] = mapped_column(index=True)
    ended: Mapped[float | None] = mapped_column(index=True)
    board: Mapped[Board] = relationship()
    release: Mapped[Release] = relationship()


class Operator(Base):
    """Somebody who may log in; with `must_change` they must choose another password first."""

    __tablename__ = "operators"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(sa.Text)
    scopes: Mapped[list[str]] = mapped_column(sa.JSON, default=list)
    must_change: Mapped[bool] = mapped_column(default=False)
    created: Mapped[float]


class LoginSession(Base):
    """A browser in which an operator has logged in. The database has the digest of its cookie."""

    __tablename__ = "sessions"

    token_sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operators.id", ondelete="CASCADE"))
    csrf: Mapped[str] = mapped_column(sa.String(64))
    created: Mapped[float]
    expires: Mapped[float]
    operator: Mapped[Operator] = relationship(lazy="joined", innerjoin=True)


class Token(Base):
    """A key to the API for a program. The database has the digest of its text."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operators.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(sa.String(64))
    token_sha256: Mapped[str] = mapped_column(sa.String(64), unique=True)
    scopes: Mapped[list[str]] = mapped_column(sa.JSON, default=list)
    created: Mapped[float]
    expires: Mapped[float | None]
    operator: Mapped[Operator] = relationship(lazy="joined", innerjoin=True)


class Audit(Base):
    """What an operator has done; where `operator` is empty, the server by itself."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    operator: Mapped[str] = mapped_column(sa.String(64))
    address: Mapped[str] = mapped_column(sa.String(64), default="")
    what: Mapped[str] = mapped_column(sa.String(64))
    target: Mapped[str] = mapped_column(sa.String(128), default="")
    detail: Mapped[str] = mapped_column(sa.Text, default="")


class Database:
    """The database at *url*, as in `sqlite:///server.db` or `postgresql://user@host/name`."""

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise CommandError(
                f"{url!r} is no address of a database: give postgresql://USER@HOST/NAME"
            ) from error
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if not self.is_sqlite and parsed.get_backend_name() != "postgresql":
            raise CommandError(
                f"the database {parsed.get_backend_name()} is not known: give "
                "postgresql://USER@HOST/NAME, or nothing for SQLite in the server's folder"
            )
        self.url = parsed
        self.engine = _sqlite(parsed) if self.is_sqlite else _postgresql(parsed)
        self._writer = self.engine.execution_options(writes=True)
        self._looker = self.engine
        if not self.is_sqlite:  # without a transaction there are two round trips less
            self._looker = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one state of the database and changes nothing."""
        with Session(self.engine) as session:
            yield session

    @contextlib.contextmanager
    def looking(self) -> Iterator[sa.Connection]:
        """Give a connection for single statements that change nothing; it costs the least."""
        with self._looker.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session whose changes are all kept at the end of the `with`, or none of them.

        On SQLite there is one writer at a time; on PostgreSQL the rows must be locked.
        """
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def try_lock(self, session: Session) -> bool:
        """Take the lock for what one worker must do alone; return whether this *session* has it.

        The lock is held until the session's transaction ends.
        """
        if self.is_sqlite:
            return True
        return bool(session.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_ADVISORY_LOCK))))

    def upgrade(self, revision: str = "head") -> None:
        """Bring the tables to what this version of the server needs, from whatever they were.

        Of several servers that start at once, one does it and the others wait. Raises CommandError
        where the database is newer than the server.
        """
        from alembic.command import upgrade
        from alembic.config import Config
        from alembic.util import CommandError as AlembicError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._rebuilding() as connection:
            config.attributes["connection"] = connection
            try:
                upgrade(config, revision)
            except AlembicError as error:
                raise CommandError(
                    f"this database is of a newer version of mpota ({error}): install that one, or "
                    "give another folder or --database"
                ) from error

    @contextlib.contextmanager
    def _rebuilding(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction that may change tables, which no two have at once.

        SQLite changes a table by making another one in its place. References to its rows are not
        looked at meanwhile, but at the end.
        """
        with self._writer.connect() as connection:
            if not self.is_sqlite:
                with connection.begin():
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
                    yield connection
                return
            pragmas = connection.connection.cursor()  # outside of a transaction
            pragmas.execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    yield connection
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                    if broken:
                        raise CommandError(f"the database has broken references: {broken[:3]}")
            finally:
                pragmas.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def change_plan(session: Session) -> None:
    """Let all workers see within a second that boards may get something else now."""
    session.execute(sa.update(Clock).values(revision=Clock.revision + 1))


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_S}, pool_size=8)

    def on_connect(connection: Any, _: object) -> None:
        # With None, sqlite3 begins no transaction by itself: on_begin does.
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    def on_begin(connection: sa.Connection) -> None:
        # A transaction that begins by reading fails at its first write if another one has written
        # meanwhile.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    sa.event.listen(engine, "connect", on_connect)
    sa.event.listen(engine, "begin", on_begin)
    return engine


def _postgresql(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=8,
        pool_timeout=5,
        connect_args={"connect_timeout": 5, "options": "-c statement_timeout=15000"},
    )
