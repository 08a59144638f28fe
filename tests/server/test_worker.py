"""What a worker does beside answering goes on, whatever requests want, and costs little."""

import asyncio
import threading

from asking import Desk
from mpota.server.database import Database
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
