"""One power cut in a scenario, and what must follow it; the command that repeats it."""

import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cuts import Cut
from life import REFUSED, Life, repeatable
from oracle import Verdict
from scenarios import SCENARIOS, Edit

# "suffix" is that of an erase, or of the first 32 bytes of a program: the chip programs so many at
# a time, one such unit after the other, so a program never ends with its first unit blank and a
# later one written. littlefs relies on it: it looks at one unit to see whether the space after a
# commit is erased (its forward CRC).
TEARS = ("prefix", "suffix", "alternate-words", "other-words", "all-but-last-byte")

_SHOWN_FAILURES = 3


@dataclass(frozen=True)
class Case(Cut):
    """A power cut in one of SCENARIOS."""

    arguments = "{0.scenario} {0.cut}"


def count_operations(scenario: str, edits: tuple[Edit, ...] = ()) -> int:
    """Return how many flash operations *scenario* takes without a power cut."""
    with Life(SCENARIOS[scenario], edits=edits) as life:
        script = life.scenario.script
        operations = life.run_to_the_end(script, None if script else life.judge())
        life.must_be_settled(None)
        life.update_further()
        return operations


def count_receiving(scenario: str) -> int:
    """Return how many of the operations of *scenario* only receive: an update up to its refusal."""
    with Life(SCENARIOS[scenario]) as life:
        if not life.scenario.script.startswith("bring"):
            return 0
        with life.board("digest") as board:
            board.wait_for(REFUSED)
            return board.operations


def run_case(case: Case, edits: tuple[Edit, ...] = (), timeout_s: float = 30) -> list[str]:
    """Run *case*; return what the board said. Raises AssertionError with the way to repeat it."""
    life = Life(SCENARIOS[case.scenario], edits=edits, timeout_s=timeout_s)
    with life, repeatable(life, case.command):
        life.cut(life.scenario.script, case.cut, case.torn)
        verdict = life.judge()
        if case.second is not None:
            verdict = _cut_again(life, case)
        life.recover(verdict)
        return life.lines


def _cut_again(life: Life, case: Case) -> Verdict:
    before = life.judge()
    life.cut(life.next_script(before), case.second, case.torn)
    verdict = life.judge()
    if before.state == "trial" and before.runs != life.scenario.bad:
        assert verdict.runs == before.runs, f"{before.runs} became {verdict.runs}"
    return verdict


def run_second_cuts(
    scenario: str, cut: int, torn: str, choose: Callable[[int, bool], Iterable[int]]
) -> int:
    """Cut before operation *cut*, and then before those of the recovery that *choose* names.

    It is given how many operations the recovery takes, and whether that is another try, as it is
    where the cut left the board as it was. Return how many cases those are. Raises AssertionError
    with the way to repeat the case that failed.
    """
    with Life(SCENARIOS[scenario]) as first:
        with repeatable(first, Case(scenario, cut, torn).command):
            first.cut(first.scenario.script, cut, torn)
            after_cut = Path(shutil.copy(first.flash, first.flash.with_suffix(".cut")))
            verdict = first.judge()
            script = first.next_script(verdict)
            total = first.run_to_the_end(script, verdict)
        cases = [Case(scenario, cut, torn, second) for second in choose(total, script != "")]
        for case in cases:
            life = Life(SCENARIOS[scenario], flash=after_cut)
            with life, repeatable(life, case.command):
                life.recover(_cut_again(life, case))
    return len(cases)


def in_parallel(run: Callable, cases: Iterable) -> list:
    """Return what *run* returns for each of *cases*. Raises AssertionError with their failures."""

    def attempt(case):
        try:
            return run(case), None
        except AssertionError as e:
            return None, str(e)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(attempt, cases))
    failures = [text for _, text in outcomes if text]
    shown = "\n\n".join(failures[:_SHOWN_FAILURES])
    assert not failures, f"{len(failures)} of {len(outcomes)} failed\n\n{shown}"
    return [value for value, _ in outcomes]
