"""Checks the passwords that the page and the API are given, and slows their guessing down."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from mpota.server import accounts
from mpota.server.database import Audit, Database, Operator
from mpota.server.errors import TooManyError, UnauthorizedError

# So many wrong passwords are followed by a pause: of a name from one address, and of all names.
_FAILURES = 5
_FAILURES_OF_ADDRESS = 30
_PAUSE_S = 60.0
_FAILURES_LIMIT = 10_000
# To check a password takes long, and 19 MiB. Strangers can ask for it: so many are checked at once.
_THREADS = 2
_WRONG = "wrong password"
_WRONG_KEPT = 1000  # so many entries of wrong passwords are in the audit, the latest ones


class Throttle:
    """Slows down the guessing of passwords; each worker counts for itself."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, ...], list[float]] = {}

    def wait_s(self, name: str, address: str) -> float:
        """Return for how many seconds no password of *name* is checked from *address*."""
        return max(
            self._wait_s((name, address), _FAILURES),
            self._wait_s((address,), _FAILURES_OF_ADDRESS),
        )

    def fail(self, name: str, address: str) -> None:
        """Count a wrong password."""
        if len(self._failures) >= _FAILURES_LIMIT:
            self._failures.clear()
        for key in ((name, address), (address,)):
            self._failures[key] = [*self._recent(key), time.monotonic()]

    def _wait_s(self, key: tuple[str, ...], limit: int) -> float:
        recent = self._recent(key)
        return recent[-limit] + _PAUSE_S - time.monotonic() if len(recent) >= limit else 0.0

    def _recent(self, key: tuple[str, ...]) -> list[float]:
        since = time.monotonic() - _PAUSE_S
        return [at for at in self._failures.get(key, []) if at > since]


class Logins:
    """Checks the passwords that one worker is given, by *database*."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._throttle = Throttle()
        self._pool = ThreadPoolExecutor(_THREADS, "password")

    async def check(self, name: str, password: str, address: str) -> Operator:
        """Return the operator who logs in from *address*.

        Raises UnauthorizedError, and TooManyError after too many wrong passwords.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._check, name, password, address)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _check(self, name: str, password: str, address: str) -> Operator:
        if self._throttle.wait_s(name, address) > 0:
            raise TooManyError("too many wrong passwords: wait a minute")
        # No writing transaction, for whose end all other writers would wait.
        with self._database.reading() as session:
            operator = accounts.check(session, name, password)
        if operator is None:
            self._throttle.fail(name, address)
            self._note(name, address)
            raise UnauthorizedError("the name or the password is wrong")
        return operator

    def _note(self, name: str, address: str) -> None:
        # The audit tells of the latest wrong passwords: guessing does not fill the disk.
        wrong = sa.select(Audit.id).where(Audit.what == _WRONG).order_by(Audit.id.desc())
        with self._database.writing() as session:
            session.add(
                Audit(at=time.time(), operator="", address=address, what=_WRONG, target=name)
            )
            session.flush()
            left = session.scalar(wrong.offset(_WRONG_KEPT).limit(1))
            if left is not None:
                session.execute(sa.delete(Audit).where(Audit.what == _WRONG, Audit.id <= left))
