"""The tables: made from nothing, and brought up to date with all that is in them."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from mpota.errors import CommandError
from mpota.server.database import Attempt, Base, Board, Clock, Database, Release, Rollout

FIRST = Path(__file__).parent / "first_revision.sql"


def test_what_the_migrations_make_is_what_the_server_expects(database):
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    with database.reading() as session:
        assert session.get(Clock, 1).revision == 1


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(database):
    with database.writing() as session:
        session.add(Board(mac="5CCF7FC0FF02"))
    database.upgrade()
    with database.reading() as session:
        assert session.scalar(sa.select(Board.mac)) == "5CCF7FC0FF02"


def test_several_that_start_at_once_upgrade_it_once(database_url):
    databases = [Database(database_url) for _ in range(4)]
    errors = []

    def upgrade(database):
        try:
            database.upgrade()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=upgrade, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with databases[0].reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Clock)) == 1
    for database in databases:
        database.close()
    assert errors == []


def test_a_filled_database_of_the_first_version_is_upgraded_with_all_that_is_in_it(database_url):
    database = Database(database_url)
    database.upgrade("0001")
    with database.engine.begin() as connection:
        for statement in FIRST.read_text().split(";\n"):
            connection.exec_driver_sql(statement)
    database.upgrade()
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    with database.reading() as session:
        board = session.scalars(sa.select(Board)).one()
        assert (board.mac, board.pin.version, board.floor) == ("5CCF7FC0FF02", "2.0.0", 1)
        attempt = session.scalars(sa.select(Attempt)).one()
        assert (attempt.state, attempt.words) == ("reverted", "taken back: 2: raised OSError: 5")
        rollout = session.scalars(sa.select(Rollout)).one()
        assert [phase.percent for phase in rollout.phases] == [30.0, 100.0]
        assert rollout.groups == ["lab"] and rollout.release == session.get(Release, 1)
    database.close()


def test_a_database_of_a_newer_version_is_refused_in_one_line(database):
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(CommandError, match="newer version of mpota"):
        database.upgrade()


@pytest.mark.parametrize("url", ["mysql://root@127.0.0.1/x", "what is this"])
def test_other_databases_are_refused_in_one_line(url):
    with pytest.raises(CommandError, match="give"):
        Database(url)
