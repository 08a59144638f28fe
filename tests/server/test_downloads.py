"""`GET /update` of one worker, when many boards ask for the same at once."""

import asyncio
import threading

import pytest
from asking import Desk, board_headers, release_image
from mpota.server import images, update
from mpota.server.database import Database
from mpota.server.metrics import Metrics
from mpota.server.update import UpdateEndpoint

BOARDS = 6  # fewer than the threads of a worker


@pytest.fixture
def desk(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'server.db'}")
    database.upgrade()
    yield Desk(database, tmp_path)
    database.close()


async def get(endpoint, number, **told):
    """Return what a board is sent."""
    sent = []

    async def send(message):
        sent.append(message.get("body", b""))

    headers = [
        (name.lower().encode(), value.encode())
        for name, value in board_headers(number, **told).items()
    ]
    scope = {"type": "http", "method": "GET", "path": "/update", "headers": headers}
    await endpoint(scope, None, send)
    return b"".join(sent)


def run(desk, asking):
    endpoint = UpdateEndpoint(desk.reception, desk.images, desk.options, Metrics())
    try:
        return asyncio.run(asking(endpoint))
    finally:
        endpoint.close()


def test_an_image_that_many_boards_ask_for_at_once_is_in_memory_once(desk, monkeypatch):
    garden, pond = release_image(2), release_image(2, "pond")
    for data in (garden, pond):
        desk.roll_out(desk.add(data))
    read, read_file = [], desk.images.read_file
    together = threading.Barrier(BOARDS)

    def note(name):
        read.append(name)
        if len(read) <= BOARDS:
            together.wait(60)
        return read_file(name)

    monkeypatch.setattr(desk.images, "read_file", note)
    monkeypatch.setattr(update, "_CACHE_BYTES", 3 * len(garden))

    async def asking(endpoint):
        told = await asyncio.gather(*(get(endpoint, number) for number in range(BOARDS)))
        assert told == [garden] * BOARDS
        assert await get(endpoint, 50, x_mpota_name="pond") == pond
        count = len(read)
        assert await get(endpoint, 60) == garden
        assert len(read) == count

    run(desk, asking)


def test_a_delta_that_many_boards_ask_for_at_once_is_made_once(desk, monkeypatch):
    for sequence in (1, 2):
        release = desk.add(release_image(sequence))
    desk.roll_out(release)
    made, make = [], images.delta.make
    asked, ask = threading.Semaphore(0), desk.reception.ask
    all_have_asked = threading.Event()

    def note_ask(question):
        reply = ask(question)
        asked.release()
        return reply

    def note_make(base, whole):
        made.append(1)
        all_have_asked.wait(60)
        return make(base, whole)

    monkeypatch.setattr(desk.reception, "ask", note_ask)
    monkeypatch.setattr(images.delta, "make", note_make)

    async def asking(endpoint):
        told = {"x_mpota_takes": "delta"}
        boards = [asyncio.create_task(get(endpoint, n, **told)) for n in range(BOARDS)]
        for _ in boards:
            await asyncio.to_thread(asked.acquire)
        await get(endpoint, 99, x_mpota_name="pond")  # others are answered meanwhile
        all_have_asked.set()
        return await asyncio.gather(*boards)

    sent = run(desk, asking)
    assert len(made) == 1
    assert len(set(sent)) == 1 and len(sent[0]) < len(release_image(2)) / 2
