"""The power goes while the update page takes an image; the command that repeats it."""

import contextlib
import http.client
import threading
from dataclasses import dataclass, replace

from life import Life, repeatable
from releases import NEW, release
from scenarios import SCENARIOS

_SCENARIO = replace(SCENARIOS["update"], name="page", has_page=True)
_LISTENS = "web: http"
_PATIENCE_S = 10


@dataclass(frozen=True)
class PageCut:
    """A power cut before flash operation *cut* of a board whose page has begun to listen."""

    cut: int

    @property
    def command(self) -> str:
        """The command that repeats exactly this case."""
        return f"python tests/power/repeat.py --page {self.cut}"


def count_page_operations() -> int:
    """Return how many flash operations an update by the page takes, up to its confirmation."""
    with Life(_SCENARIO) as life, life.board() as board:
        board.wait_for(_LISTENS)
        _post(board.ip)
        board.wait_for("is confirmed")
        return board.operations


def run_page_cut(case: PageCut) -> list[str]:
    """Run *case*; return what the board said. Raises AssertionError with the way to repeat it."""
    with Life(_SCENARIO) as life, repeatable(life, case.command):
        board = life.board()
        try:
            board.power_on()
            board.wait_for(_LISTENS)
            board.cut_power_after(case.cut)
            host = threading.Thread(target=_post, args=(board.ip,))
            host.start()
            assert board.wait_for_power_cut(), f"operation {case.cut} never came"
            assert board.violation == ""
            host.join()
        finally:
            board.stop()
        life.recover(life.judge())
        return life.lines


def _post(ip: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):  # the board is gone
        connection = http.client.HTTPConnection(ip, timeout=_PATIENCE_S)
        headers = {"Content-Type": "application/octet-stream"}
        connection.request("POST", "/update", release(NEW), headers)
        connection.getresponse().read()
