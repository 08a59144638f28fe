"""Memory runs out in an update or a boot: with the heap back as it was, the board is as before."""

import contextlib

import pytest
from base_flash import bringing
from power_cut import CONFIRMED, PLAIN_BOOT, Life, record_operations
from releases import NEW, SCENARIOS

# From what suffices to what does not even start main.py.
_HEAPS_KB = (56, 52, 50, 49, 48, 47, 46, 45, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 20)
_BOOTS = 3
# The end of what a boot with too little memory does.
_ENDS = rf"{CONFIRMED}|^refused:|is dropped|MemoryError|ended with status"
_PATIENCE_S = 5


def _boot_with(life: Life, heap_kb: int, scripts: tuple[str, ...]) -> None:
    with life.board(scripts, heap=f"{heap_kb}k") as board, contextlib.suppress(TimeoutError):
        board.wait_for(_ENDS, _PATIENCE_S)


@pytest.mark.parametrize("start", ["update", "boot"])
@pytest.mark.parametrize("heap_kb", _HEAPS_KB)
def test_too_little_memory_leaves_a_whole_version(start, heap_kb):
    with Life(SCENARIOS["update"]) as life:
        scripts = bringing(NEW)
        if start == "boot":  # an image is pending
            stored = record_operations("update")
            life.cut(scripts, next(n for n in stored if n + 1 not in stored) + 1)
            scripts = PLAIN_BOOT
        for _ in range(_BOOTS):
            _boot_with(life, heap_kb, scripts)
            verdict = life.judge()
            if verdict.state == "idle" and (verdict.runs == NEW or start == "boot"):
                break
        confirmed = verdict.runs == NEW and verdict.state == "idle"
        if heap_kb == max(_HEAPS_KB):
            assert confirmed, "this should have sufficed"
        if heap_kb == min(_HEAPS_KB):
            assert not confirmed, "this should not have sufficed"
        life.recover(verdict)
