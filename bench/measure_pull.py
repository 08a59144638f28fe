"""Measurements of boards that ask a server, for `make bench` and for the tests of budgets."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import measure
from mpota.server.simple import ImageFolder, SimpleServer

_IDLE_POLLS = 3
_DELAY_S = 0.05


class PullHeap(NamedTuple):
    """Bytes of heap: in use when idle, and more of it in a question and in an update."""

    idle: int
    question: int
    peak: int


def heap(folder: Path) -> PullHeap:
    """Measure what a board that polls takes: idle, in a question, and at the peak of an update."""
    with _shelf(folder) as (images, server), _Relay(server.server_port) as relay:
        url = f"http://127.0.0.1:{relay.port}/"
        settings = {"update_url": url, "step_ms": 0, "confirm_s": 3600}
        with measure.board_with(folder, "pull", **settings) as board:
            idle = int(board.wait_for(r"^idle (\d+)")[1])
            question = int(board.wait_for(r"^asked (\d+)")[1])
            (images / "2.img").write_bytes(measure.image_of("quick", 2, measure.IMAGE_BYTES))
            peak = int(board.wait_for(r"^peak (\d+)")[1])
    return PullHeap(idle, question - idle, peak - idle)


def seconds(folder: Path, rounds: int) -> tuple[float, float]:
    """Measure the seconds of a pull of 100 KB, and of a loop that does no more than it must.

    They are the fastest of each, by the board's own clock, with the time that the flash takes by
    its data sheet: on a chip that is most of it, and the simulated flash takes none. The loop is
    given the flash time of an upload, with its marks and its record.
    """
    data = measure.image_of("quick", 2, measure.IMAGE_BYTES)
    with measure.board_with(folder, "quick", reboot_on_success=False) as board:
        board.wait_for("listens on")
        measure.send(board, data)
        board.wait_for("is verified")
        upload_ms = board.flash_time_ms
    ours, theirs = [], []
    for _ in range(rounds):
        with _shelf(folder) as (images, server):
            (images / "2.img").write_bytes(data)
            url = f"http://127.0.0.1:{server.server_port}/"
            settings = {"update_url": url, "is_measuring_time": True, "reboot_on_success": False}
            with measure.board_with(folder, "pull", **settings) as board:
                took_us = int(board.wait_for(r"^took (\d+)")[1])
                board.wait_for("^peak")
                ours.append(took_us / 1e6 + board.flash_time_ms / 1000)
            source = measure.receiving("fetch_only").replace("{port}", str(server.server_port))
            with measure.script_board(folder, source) as board:
                took_us = int(board.wait_for(r"^took (\d+)")[1])
                theirs.append(took_us / 1e6 + upload_ms / 1000)
    return min(ours), min(theirs)


def bytes_per_idle_poll(folder: Path) -> tuple[int, int]:
    """Measure the bytes that a board sends, and gets, for a question to which the answer is no."""
    with _shelf(folder) as (_, server), _Relay(server.server_port) as relay:
        url = f"http://127.0.0.1:{relay.port}/"
        with measure.board_with(folder, "pull", update_url=url) as board:
            for _ in range(_IDLE_POLLS):
                board.wait_for("pull: no update")
    return relay.sent // relay.connections, relay.received // relay.connections


@contextlib.contextmanager
def _shelf(folder: Path) -> Iterator[tuple[Path, SimpleServer]]:
    # A folder of images, with the one that a board runs, and a server of it.
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for old in images.iterdir():
        old.unlink()
    (images / "1.img").write_bytes(measure.image_of("pull", 1))
    with SimpleServer(("127.0.0.1", 0), ImageFolder(images, print)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield images, server
        finally:
            server.shutdown()
            thread.join()


class _Relay:
    """Passes connections on to *server_port*, and counts what goes through, without TCP's own.

    It is slow enough for the board to have to wait for the reply.
    """

    def __init__(self, server_port: int) -> None:
        self.connections = self.sent = self.received = 0
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "_Relay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                board, _ = self._listener.accept()
            except OSError:
                return
            with board, socket.create_connection(("127.0.0.1", self._server_port)) as server:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += board.recv(65536)
                server.sendall(request)
                time.sleep(_DELAY_S)
                reply = b""
                while data := server.recv(65536):
                    reply += data
                board.sendall(reply)
            self.connections += 1
            self.sent += len(request)
            self.received += len(reply)
