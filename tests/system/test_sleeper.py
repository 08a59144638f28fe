"""examples/sleeper: a board that wakes up, measures, asks for an update, and sleeps."""

import socket
import threading

import boards
import pytest
from mpota.board.record import NAME, NO_SLOT, Record
from mpota.image.directory import pack_directory
from mpota.server.simple import ImageFolder, SimpleServer
from mpota.sim import read_flash
from mpota.sim.rom import ARCHITECTURE

SLEEPER = boards.ROOT / "examples" / "sleeper"


def release(sequence, folder=SLEEPER):
    packed = pack_directory(
        folder, version=f"1.{sequence}.0", sequence=sequence, architecture=ARCHITECTURE
    )
    return packed.data


@pytest.fixture
def shelf(tmp_path):
    """Yield a folder, a simple server's address, and what it was asked."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "sleeper.img").write_bytes(release(1))
    exchanges = []
    with SimpleServer(("127.0.0.1", 0), ImageFolder(folder, print), exchanges.append) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder / "sleeper.img", f"http://127.0.0.1:{server.server_port}/", exchanges
        server.shutdown()
        thread.join()


def test_the_sleeper_sends_takes_an_update_and_confirms_it_within_its_wake_ups(tmp_path, shelf):
    image, url, exchanges = shelf
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.9", 9999))
        collector.settimeout(30)
        # confirm_s has the value that boards in use have. The application confirms itself.
        settings = {"update_url": url, "collector": "127.0.0.9", "sleep_s": 0.2, "confirm_s": 60}
        with boards.board_with(tmp_path, release(1), **settings) as board:
            for _ in range(12):  # a board that is not healthy would be in safe mode by then
                assert collector.recv(100) == b"-60\n"
            assert not [line for line in board.lines if "safe" in line or "update:" in line]
            image.write_bytes(release(2))
            board.wait_for("boot: slot b on trial, boot 1 of 3")
            confirmed = board.lines.index(board.wait_for("slot b is confirmed").string)
            board.wait_for("boot: slot b$", start=confirmed)
            board.wait_for("sleeper: sleeps", start=confirmed)
            board.wait_for("pull: no update", start=confirmed)
            assert board.violation == ""
    record = Record.parse(read_flash(board.flash)[NAME])
    assert (record.active, record.trial, record.outcome) == ("b", NO_SLOT, "confirmed: 2")
    assert exchanges[-1].outcome == "confirmed: 2"
    assert [exchange.reply.status for exchange in exchanges if exchange.sent] == [200]


def test_a_sleeper_that_cannot_work_is_taken_back_and_not_fetched_again(tmp_path, shelf):
    image, url, exchanges = shelf
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "app.py").write_text("def main(ota):\n    import of_no_use\n")
    project = (SLEEPER / "pyproject.toml").read_text()
    (tmp_path / "bad" / "pyproject.toml").write_text(project)
    settings = {"update_url": url, "collector": "127.0.0.9", "sleep_s": 0.2, "confirm_s": 60}
    with boards.board_with(tmp_path, release(1), **settings) as board:
        board.wait_for("pull: no update")
        image.write_bytes(release(2, tmp_path / "bad"))
        back = board.lines.index(board.wait_for("trial: taken back: raised ImportError").string)
        for _ in range(3):
            back = board.lines.index(board.wait_for("pull: no update", start=back).string, back) + 1
    assert [exchange.reply.status for exchange in exchanges if exchange.sent] == [200]
    assert exchanges[-1].outcome.startswith("taken back: 2: raised ImportError")


def test_a_sleeper_without_a_network_sleeps_all_the_same(tmp_path, shelf):
    _, url, _ = shelf
    with boards.board_with(
        tmp_path, release(1), update_url=url, collector="127.0.0.9", sleep_s=0.2
    ) as board:
        board.wait_for("sleeper: sleeps")
        board.network = False
        start = len(board.lines)
        board.wait_for("sleeper: sleeps", start=start, timeout_s=60)
