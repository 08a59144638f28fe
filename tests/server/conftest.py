"""A server's database, its folder, and a PostgreSQL of the tests' own."""

import time

import postgresql
import pytest
import sqlalchemy as sa
from mpota.server import plan
from mpota.server.database import Database


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """Yield a function that makes a new database in a PostgreSQL, and returns its address."""
    if not postgresql.find():
        pytest.skip("there is no PostgreSQL (Debian: apt-get install postgresql)")
    with postgresql.Server() as server:
        yield server.new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """Return the address of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'server.db'}"
    return request.getfixturevalue("postgres")()


@pytest.fixture
def database(database_url):
    """Yield a database with all tables."""
    database = Database(database_url)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def clock_stands(monkeypatch):
    """Let the computer's clock stand still, so that a busy machine lets no time pass.

    It is a function that sets the clock, to seconds since 1970.
    """

    def stand(now):
        monkeypatch.setattr(time, "time", lambda: now)
        monkeypatch.setattr(plan, "wall_clock", lambda connection: sa.literal(now))

    stand(time.time())
    return stand
