"""The power goes in the middle of a program or an erase, which is then carried out in part."""

import random

import pytest
from power_cut import TEARS, Case, count_operations, in_parallel, record_operations, run_case
from releases import CUT_SCENARIOS

# Beside every operation of the record's stores: so many of the others, for each way to tear.
_SAMPLE = 5


@pytest.mark.parametrize("scenario", CUT_SCENARIOS)
def test_a_torn_operation_leaves_a_whole_version(scenario, record_property):
    total, record = count_operations(scenario), record_operations(scenario)
    cases = []
    for torn in TEARS:
        others = sorted(set(range(total)) - set(record))
        sample = random.Random(f"{scenario} {torn}").sample(others, _SAMPLE)
        cases += [Case(scenario, cut, torn) for cut in (*record, *sample)]
    ran = in_parallel(run_case, cases)
    record_property(
        f"torn operations, {scenario}",
        f"{len(ran)}/{len(cases)} (the record's {len(record)} of {total} operations and "
        f"{_SAMPLE} others, {len(TEARS)} ways each)",
    )
