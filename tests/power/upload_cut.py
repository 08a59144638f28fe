"""The power goes while an image comes in over the network; the command that repeats it."""

import contextlib
import threading
from dataclasses import dataclass

from life import LISTENS, Life, repeatable
from mpota import arduino
from mpota.errors import CommandError
from releases import NEW, release
from scenarios import SCENARIOS, Scenario

# Its application leaves so little heap that the services run alone for the update.
_FULL = Scenario("full", "", NEW, old_app="full", password="secret")


@dataclass(frozen=True)
class UploadCut:
    """A power cut before flash operation *cut* of a board that has begun to listen.

    With *restarts*, the update needs the restart into the services alone. With *is_reset*, it is a
    reset, which RTC memory outlives.
    """

    cut: int
    restarts: bool = False
    is_reset: bool = False

    @property
    def command(self) -> str:
        """The command that repeats exactly this case."""
        options = " --restart" * self.restarts + " --reset" * self.is_reset
        return f"python tests/power/repeat.py --upload {self.cut}{options}"


def run_upload_cut(case: UploadCut) -> list[str]:
    """Run *case*; return what the board said. Raises AssertionError with the way to repeat it."""
    scenario = _FULL if case.restarts else SCENARIOS["update"]
    with Life(scenario) as life, repeatable(life, case.command):
        board = life.board()
        if case.is_reset:
            life.keep_rtc_of(board)
        try:
            board.power_on()
            board.wait_for("^full" if case.restarts else LISTENS)
            board.cut_power_after(case.cut)
            host = threading.Thread(target=_upload, args=(board.ip, scenario.password))
            host.start()
            assert board.wait_for_power_cut(), f"operation {case.cut} never came"
            assert board.violation == ""
            host.join()
            assert case.restarts == any("services run alone" in line for line in life.lines)
        finally:
            board.stop()
        life.recover(life.judge())
        return life.lines


def _upload(ip: str, password: str) -> None:
    with contextlib.suppress(CommandError):  # the board is gone
        arduino.upload(release(NEW), board_ip=ip, password=password)
