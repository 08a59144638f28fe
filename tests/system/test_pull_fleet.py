"""A simulated board and `mpota serve`: what the server gives it, and what it hears of it."""

import functools
import hashlib
import http.server
import re
import threading
import time

import pytest
import sqlalchemy as sa
from asking import Desk
from data_files import tar_image
from device import Device
from mpota.server.database import Attempt, Board, Database, change_plan
from pulling import NO_UPDATES, OK, PULLING_APP, PullingDevice
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


# An application that fails when it finds certain data.
_JUDGES = """    tell(ota)
    import os
    if "data" in os.listdir("/") and "bad" in os.listdir("/data"):
        raise ValueError("bad data")
"""
PICKY_APP = PULLING_APP.replace("    tell(ota)\n", _JUDGES)


def test_data_come_to_a_board_whose_application_asks_for_them(tmp_path, serving):
    desk, url = serving("--unknown", "accept")
    with PullingDevice(tmp_path) as device:
        image = tar_image({"page.html": b"<p>one"})
        desk.roll_out(desk.add(image, application="small", version="pages-1"))
        assert device.ask("update_fs", url).result == str(OK)
        start = device.boot()
        device.board.wait_for("is confirmed", start=start)
        assert device.files()["/data/page.html"] == b"<p>one"
        # The board tells the server which data it has, and the server does not send them again. Nor
        # does the server offer them as an application.
        assert device.ask("update_fs", url).result == str(NO_UPDATES)
        assert ended(desk, "confirmed") == "confirmed: data"
        with desk.database.reading() as session:
            board = session.scalars(sa.select(Board)).one()
            assert board.data_sha256 == hashlib.sha256(image).hexdigest()[:32]
            assert (board.version, board.sequence, board.floor) == (None, 1, 1)
        assert device.ask("update", url).error == -102


def test_data_that_a_board_takes_back_are_not_sent_to_it_again(tmp_path, serving):
    desk, url = serving("--unknown", "accept")
    with PullingDevice(tmp_path, PICKY_APP) as device:
        first = desk.add(tar_image({"good": b"1"}), application="small", version="1")
        desk.roll_out(first)
        assert device.ask("update_fs", url).result == str(OK)
        start = device.boot()
        device.board.wait_for("is confirmed", start=start)
        desk.roll_out(desk.add(tar_image({"bad": b"1"}), application="small", version="2"))
        assert device.ask("update_fs", url).result == str(OK)
        start = device.boot()
        device.board.wait_for("trial: taken back: raised ValueError: bad data", start=start)
        start = device.line("takes commands", start)
        assert device.ask("update_fs", url).result == str(NO_UPDATES)
        assert ended(desk, "reverted").startswith("taken back: data: raised ValueError: bad data")
        assert device.files()["/data/good"] == b"1"


def test_a_board_that_asks_for_it_gets_a_gzip(tmp_path, serving):
    desk, url = serving("--unknown", "accept")
    with PullingDevice(tmp_path) as device:
        data = device.trial_image(12_000)
        release = desk.add(data)
        desk.roll_out(release)
        device.installs(url, data, headers=("x-mpota-takes: gzip",))
        made = desk.options.images / "gzips" / release.blob_sha256
        assert 0 < made.stat().st_size < 0.8 * len(data)
        start = device.boot()
        device.confirmed(start)
        device.update(url)
        assert ended(desk, "confirmed") == "confirmed: 2"


def test_a_board_is_sent_elsewhere_for_the_image(tmp_path, serving):
    folder = tmp_path / "server" / "images"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        thread = threading.Thread(target=files.serve_forever)
        thread.start()
        try:
            elsewhere = f"http://127.0.0.1:{files.server_port}"
            desk, url = serving("--unknown", "accept", "--images-url", elsewhere)
            with Device(tmp_path, update_url=url, update_redirects="strict", **OFTEN) as device:
                start = device.said
                desk.roll_out(desk.add(device.next_image()))
                device.confirmed(start)
                assert ended(desk, "confirmed") == "confirmed: 2"
        finally:
            files.shutdown()
            thread.join()
