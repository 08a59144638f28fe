"""Measurements of the update page, for `make bench` and for the tests of budgets."""

import hashlib
import http.client
import socket
from pathlib import Path
from typing import NamedTuple

import measure
from mpota import arduino, page
from mpota.sim import Board

_PATIENCE_S = 60
# A request that goes on: its head has not ended, and no header that follows is kept.
_HELD = b"GET /update HTTP/1.1\r\nHost: 192.168.178.100\r\nAuthorization: Basic %s\r\n" % (
    b"x" * 60
)


class PageHeap(NamedTuple):
    """Bytes of heap that the page takes: when idle, and more of it while it works.

    `connection` is what each one more takes that is open and has sent its head, `look` the peak of
    showing the page and the status, `peak` that of an update, over `idle` with the listener.
    """

    idle: int
    connection: int
    look: int
    peak: int


def heap(folder: Path) -> PageHeap:
    """Measure what the page takes of the heap."""
    with measure.board_with(folder, "page", step_ms=0) as board:
        without = _idle(board)
    with _board(folder, web=True, step_ms=0) as board:
        idle = _idle(board)
        looks = [_ask(board, path) for path in ("/update", "/update/status") * 2]
        one, two = (_hold(board, count) for count in (1, 2))
        _, kept = looks[-1]
        start = len(board.lines)
        _post(board)
        peak, _ = _most(board, start)
    return PageHeap(idle - without, two - one, max(most for most, _ in looks) - kept, peak - kept)


def throughput(folder: Path, rounds: int) -> tuple[float, float]:
    """Measure the bytes a second of an upload by the page, and of one to the listener.

    They are the fastest of each, by the board's own clock, from the first piece to the last. It is
    the same board, and the same image, of which both announce the SHA-256.
    """
    data = measure.image_of("quick", 2, measure.IMAGE_BYTES)
    by_page, by_listener = [], []
    with _board(folder, web=True, is_measuring_time=True) as board:
        _idle(board)
        for _ in range(rounds):
            for rates, send in ((by_page, _post), (by_listener, _upload)):
                start = len(board.lines)
                send(board)
                took_us = int(board.wait_for(r"^took (\d+)", start=start)[1])
                rates.append(len(data) / took_us * 1e6)
    return max(by_page), max(by_listener)


def page_bytes() -> int:
    """Return how many bytes the page has, as it is sent."""
    return len(page.build())


def _board(folder: Path, **settings: object) -> Board:
    # The update is verified, and waits for a restart: the next one replaces it. The heap has the
    # words of the chip's, so that it suffices beside all that is measured.
    settings |= {"reboot_on_success": False, "confirm_s": 0.1}
    board = measure.board_with(folder, "page", **settings)
    return Board(board.flash, ip=measure.IP, heap="76k")


def _idle(board: Board) -> int:
    return int(board.wait_for(r"^idle (\d+)")[1])


def _most(board: Board, start: int) -> tuple[int, int]:
    # What was in use at most, said from line *start* on, and what when idle again.
    found = board.wait_for(r"^most (\d+) (\d+) idle (\d+)", start=start)
    return max(int(found[1]), int(found[2])), int(found[3])


def _ask(board: Board, path: str) -> tuple[int, int]:
    start = len(board.lines)
    connection = http.client.HTTPConnection(board.ip, timeout=_PATIENCE_S)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    assert connection.getresponse().read()
    connection.close()
    return _most(board, start)


def _hold(board: Board, count: int) -> int:
    # What is in use when so many have sent their head, all but its end.
    start = len(board.lines)
    held = [socket.create_connection((board.ip, 80)) for _ in range(count)]
    for connection in held:
        connection.sendall(_HELD)
    for connection in held:
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        connection.close()
    return _most(board, start)[0]


def _post(board: Board) -> None:
    connection = http.client.HTTPConnection(board.ip, timeout=_PATIENCE_S)
    data = measure.image_of("quick", 2, measure.IMAGE_BYTES)
    headers = {
        "Content-Type": "application/octet-stream",
        "X-SHA256": hashlib.sha256(data).hexdigest(),
    }
    connection.request("POST", "/update", data, headers)
    assert connection.getresponse().status == 200
    connection.close()


def _upload(board: Board) -> None:
    arduino.upload(
        measure.image_of("quick", 2, measure.IMAGE_BYTES), board_ip=board.ip, auth="strict"
    )
