"""A simulated board and `mpota serve`: what the server gives it, and what it hears of it."""

import hashlib
import re
import time

import pytest
import sqlalchemy as sa
from asking import Desk
from device import Device
from mpota.server.database import Attempt, Board, Database, change_plan
from serving import Serving

OFTEN = {"update_interval_s": 1}
RAISING_APP = """
def main(ota):
    print("app {version} runs")
    raise ValueError("of no use")
"""


@pytest.fixture
def serving(tmp_path):
    """Yield a function that starts a server, and returns its desk and the boards' address of it."""
    opened = []

    def start(*arguments, **environment):
        folder = tmp_path / "server"
        server = Serving(folder, *arguments, **environment).__enter__()
        database = Database(f"sqlite:///{folder / 'server.db'}")
        opened.extend([database.close, lambda: server.__exit__(None, None, None)])
        return Desk(database, folder), f"http://127.0.0.1:{server.port}/update"

    yield start
    for close in opened:
        close()


def ended(desk, state):
    """Wait until an update has ended so, and return the board's words."""
    deadline = time.monotonic() + 60
    while True:
        with desk.database.reading() as session:
            found = session.scalar(sa.select(Attempt.words).where(Attempt.state == state))
        if found is not None:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_release_is_rolled_out_confirmed_and_the_next_one_taken_back(tmp_path, serving):
    desk, url = serving("--unknown", "accept")
    with Device(tmp_path, update_url=url, **OFTEN) as device:
        device.board.wait_for("pull: no update|pull: File Not Found")
        start = device.said
        desk.roll_out(desk.add(device.next_image()))
        device.confirmed(start)
        assert ended(desk, "confirmed") == "confirmed: 2"
        desk.roll_out(desk.add(device.next_image(RAISING_APP)))
        words = ended(desk, "reverted")
        assert re.match("taken back: 3: raised ValueError: of no use", words)
        start = device.said
        device.board.wait_for("pull: no update", start=start)
        with desk.database.reading() as session:
            board = session.scalars(sa.select(Board)).one()
            assert (board.application, board.sequence, board.floor) == ("small", 2, 2)
            assert len(session.scalars(sa.select(Attempt)).all()) == 2


def test_a_board_waits_until_it_is_accepted_and_tells_its_secret(tmp_path, serving):
    desk, url = serving(MPOTA_FLEET_SECRET="of-all")
    with Device(
        tmp_path, update_url=url, update_user="ota", update_password="of-all", **OFTEN
    ) as device:
        data = device.next_image()
        desk.roll_out(desk.add(data))
        device.board.wait_for("pull: no update")
        start = device.said
        with desk.database.writing() as session:
            session.execute(sa.update(Board).values(state="accepted"))
            change_plan(session)
        device.confirmed(start)
        assert ended(desk, "confirmed") == "confirmed: 2"
        with desk.database.reading() as session:
            md5 = session.scalar(sa.select(Board.md5))
        assert md5 == hashlib.md5(data).hexdigest()


def test_a_board_that_runs_a_release_of_the_server_gets_what_has_changed_alone(tmp_path, serving):
    desk, url = serving("--unknown", "accept")
    ballast = {"data.bin": hashlib.shake_256(b"").digest(20_000)}
    with Device(tmp_path, files=ballast, heap="80k", update_url=url, **OFTEN) as device:
        desk.add(device.image(files=ballast))
        data = device.next_image(files=ballast)
        start = device.said
        desk.roll_out(desk.add(data))
        device.confirmed(start)
        assert device.slot(device.record.active)[: len(data)] == data
        assert ended(desk, "confirmed") == "confirmed: 2"
    (changes,) = (desk.options.images / "deltas").iterdir()
    assert 0 < changes.stat().st_size < 1000
    with desk.database.reading() as session:
        assert session.scalar(sa.select(Attempt.tries)) == 1
