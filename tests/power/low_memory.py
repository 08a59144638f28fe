"""An update or a boot with too little memory; the command that repeats it."""

import contextlib
from dataclasses import dataclass

from base_flash import CONFIRMED
from life import LISTENS, Life, repeatable
from releases import NEW
from scenarios import SCENARIOS

# From what suffices to what does not even start main.py.
HEAPS_KB = (56, 52, 50, 48, 46, 45, 44, 43, 42, 41, 40, 38, 36, 34, 32, 30, 28, 26, 24, 20)
STARTS = ("update", "boot")

_BOOTS = 3
# The end of what a boot with too little memory does.
_ENDS = rf"{CONFIRMED}|^refused:|an update needs|MemoryError|ended with status"
_PATIENCE_S = 5


@dataclass(frozen=True)
class LowMemory:
    """A heap of *heap_kb* from *start* on: an update that arrives, or a boot that tries it."""

    heap_kb: int
    start: str

    @property
    def command(self) -> str:
        """The command that repeats exactly this case."""
        return f"python tests/power/repeat.py --heap {self.heap_kb} --start {self.start}"


def run_low_memory(case: LowMemory) -> list[str]:
    """Run *case*; return what the board said. Raises AssertionError with the way to repeat it."""
    with Life(SCENARIOS["update"]) as life, repeatable(life, case.command):
        script = "bring_new"
        if case.start == "boot":
            with life.board("stage_new") as board:
                board.wait_for(LISTENS)
            script = ""
        for _ in range(_BOOTS):
            _boot_with(life, case.heap_kb, script)
            verdict = life.judge()
            if verdict.state == "idle" and (verdict.runs == NEW or case.start == "boot"):
                break
        confirmed = verdict.runs == NEW and verdict.state == "idle"
        if case.heap_kb == max(HEAPS_KB):
            assert confirmed, "this should have sufficed"
        if case.heap_kb == min(HEAPS_KB):
            assert not confirmed, "this should not have sufficed"
        life.recover(verdict)
        return life.lines


def _boot_with(life: Life, heap_kb: int, script: str) -> None:
    with life.board(script, heap=f"{heap_kb}k") as board, contextlib.suppress(TimeoutError):
        board.wait_for(_ENDS, _PATIENCE_S)
