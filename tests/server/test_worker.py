"""What a worker does beside answering goes on, whatever requests want, and costs little."""

import asyncio
import threading

import sqlalchemy as sa
from asking import Desk, board_headers, release_image
from mpota.server import counting, rollouts
from mpota.server.database import Board, Database
from mpota.server.decision import Phase
from mpota.server.shared import Shared
from mpota.server.worker import Worker


def test_the_tick_goes_on_while_requests_take_all_threads(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'server.db'}")
    database.upgrade()
    desk = Desk(database, tmp_path, tick_s=0.01)
    release = threading.Event()

    async def run():
        worker = Worker(database, desk.reception, desk.options)
        requests = [asyncio.create_task(asyncio.to_thread(release.wait)) for _ in range(64)]
        await asyncio.sleep(0)
        work = asyncio.create_task(worker.run())

        async def has_ticked():
            while not worker.is_ready:
                await asyncio.sleep(0.01)

        try:
            await asyncio.wait_for(has_ticked(), 30)
        finally:
            release.set()
            worker.ending.set()
            await asyncio.gather(work, *requests)
            worker.finish()

    asyncio.run(run())
    database.close()


def test_what_many_want_at_once_is_looked_up_once():
    looks = []

    def look():
        looks.append(1)
        return len(looks)

    async def ask(shared):
        return await asyncio.gather(*(shared.get() for _ in range(20)))

    assert asyncio.run(ask(Shared(look, 1e9))) == [1] * 20
    assert asyncio.run(ask(Shared(look, 0))) == list(range(2, 22))


def test_what_is_done_every_second_goes_through_no_whole_table(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'server.db'}")
    database.upgrade()
    desk = Desk(database, tmp_path, unknown="pending")
    phases = (Phase(50), Phase())
    desk.roll_out(desk.add(release_image(2)), phases=phases, downloads_at_once=1)
    statements = []

    def note(connection, cursor, statement, parameters, context, many):
        statements.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    for number in range(6):
        desk.ask(board_headers(number))
    with database.writing() as session:
        session.execute(sa.update(Board).where(Board.id > 0).values(state="accepted"))
    for number in range(6):
        desk.ask(board_headers(number, sequence=0))
    rollouts.tick(database)
    counting.news(database)
    sa.event.remove(database.engine, "before_cursor_execute", note)
    assert len(statements) > 20
    whole = []
    with database.engine.connect() as connection:
        for statement, parameters in statements:
            if statement.startswith(("SELECT", "UPDATE")):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                whole += [(row[-1], statement) for row in plan if row[-1].startswith("SCAN")]
    few = ("clock", "releases", "rollouts", "phases", "CONSTANT", "attempts USING INDEX uq_")
    assert [found for found in whole if not found[0].removeprefix("SCAN ").startswith(few)] == []
    database.close()
