"""The power goes while an image comes in over the network; the command that repeats it."""

import contextlib
import threading
from dataclasses import dataclass

from life import LISTENS, Life, repeatable
from mpota import arduino
from mpota.errors import CommandError
from releases import NEW, release
from scenarios import SCENARIOS


@dataclass(frozen=True)
class UploadCut:
    """A power cut before flash operation *cut* of a board that has begun to listen."""

    cut: int

    @property
    def command(self) -> str:
        """The command that repeats exactly this case."""
        return f"python tests/power/repeat.py --upload {self.cut}"


def run_upload_cut(case: UploadCut) -> list[str]:
    """Run *case*; return what the board said. Raises AssertionError with the way to repeat it."""
    with Life(SCENARIOS["update"]) as life, repeatable(life, case.command):
        board = life.board()
        try:
            board.power_on()
            board.wait_for(LISTENS)
            board.cut_power_after(case.cut)
            host = threading.Thread(target=_upload, args=(board.ip,))
            host.start()
            assert board.wait_for_power_cut(), f"operation {case.cut} never came"
            assert board.violation == ""
            host.join()
        finally:
            board.stop()
        life.recover(life.judge())
        return life.lines


def _upload(ip: str) -> None:
    with contextlib.suppress(CommandError):  # the board is gone
        arduino.upload(release(NEW), board_ip=ip)
