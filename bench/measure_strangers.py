"""Measurements of a board to which strangers send datagrams, for `make bench` and for the tests of
budgets.
"""

import random
import socket
import time
from pathlib import Path
from typing import NamedTuple

import measure
from mpota.sim import Board

DATAGRAMS = 200
_PORT, _QUESTION_PORT = 8266, 7000
_PASSWORD = "a password of the usual length"
# As long as a talk may last that begins after some wrong passwords.
_PATIENCE_S = 60


class Strangers(NamedTuple):
    """Bytes of heap: what a talk with a stranger takes, and what DATAGRAMS of them have kept."""

    talk: int
    kept: int


class _Heap(NamedTuple):
    in_use: int
    most: int
    is_talking: int


def strangers(folder: Path) -> Strangers:
    """Measure what strangers' datagrams take, beyond what the second of them has left."""
    numbers = random.Random(8266)
    with measure.board_with(folder, "told", password=_PASSWORD) as board:
        board.wait_for("takes questions")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(_STRONG, (board.ip, _PORT))
            udp.sendto(_CLASSIC, (board.ip, _PORT))
            before = _when_quiet(board)
            most = before.in_use
            for _ in range(DATAGRAMS - 2):
                udp.sendto(_any_datagram(numbers), (board.ip, _PORT))
                most = max(most, _ask(board).most)
            after = _when_quiet(board)
    return Strangers(most - before.in_use, after.in_use - before.in_use)


_CLASSIC = b"0 40000 90000 %032x\n" % 1
_STRONG = _CLASSIC.strip() + b" 2 %064x\n" % 1


def _any_datagram(numbers: random.Random) -> bytes:
    return numbers.choice(
        [
            _CLASSIC,
            _STRONG,
            b"MPOTA status".ljust(256),
            b"200 %032x %032x\n" % (numbers.getrandbits(128), numbers.getrandbits(128)),
            b"200 %064x %064x\n" % (numbers.getrandbits(256), numbers.getrandbits(256)),
            numbers.randbytes(numbers.randrange(400)),
        ]
    )


def _ask(board: Board) -> _Heap:
    # What came before the second question has been dealt with when that is answered.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for _ in range(2):
            start = len(board.lines)
            udp.sendto(b"?", (board.ip, _QUESTION_PORT))
            told = board.wait_for(r"^heap (\d+) (\d+) (\d)", start=start)
    return _Heap(*map(int, told.groups()))


def _when_quiet(board: Board) -> _Heap:
    # How the heap is when the last talk is over.
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if not _ask(board).is_talking:
            return _ask(board)
        time.sleep(0.1)
    raise TimeoutError("a talk does not end")
