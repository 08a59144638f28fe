"""The power goes a second time, while the board recovers from the first cut."""

import random

import pytest
from base_flash import bringing
from power_cut import PLAIN_BOOT, Case, Life, count_operations, in_parallel, run_case
from releases import CUT_SCENARIOS, NEW, SCENARIOS

# First cuts of each scenario, and operations of the recovery from each that are cut again.
_FIRST = 4
_SECOND = 6


def _recovery_operations(scenario: str, cut: int) -> int:
    # How many flash operations the recovery from *cut* takes; 0: nothing had been staged.
    with Life(SCENARIOS[scenario]) as life:
        life.cut(bringing(NEW), cut)
        return life.run_to_the_end(PLAIN_BOOT, life.judge())


@pytest.mark.parametrize("scenario", CUT_SCENARIOS)
def test_a_second_power_cut_does_no_more_harm_than_the_first(scenario, record_property):
    drawn = random.Random(scenario)
    cuts = list(range(count_operations(scenario)))
    drawn.shuffle(cuts)
    cases, firsts = [], 0
    for cut in cuts:
        total = _recovery_operations(scenario, cut)
        if total:
            seconds = drawn.sample(range(total), min(_SECOND, total))
            cases += [Case(scenario, cut, second=second) for second in seconds]
            firsts += 1
        if firsts == _FIRST:
            break
    assert firsts == _FIRST
    ran = in_parallel(run_case, cases)
    record_property(
        f"second cuts, {scenario}", f"{len(ran)}/{len(cases)} (after {firsts} first cuts)"
    )
