"""The power goes in the middle of a program or an erase, which is then carried out in part."""

import pytest
from power_cut import TEARS, Case, count_operations, in_parallel, run_case
from scenarios import SCENARIOS

_SAMPLE = 8


@pytest.mark.campaign
@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if not SCENARIOS[s].is_slow])
def test_a_torn_operation_leaves_a_whole_version(scenario, campaign, record_property):
    total = count_operations(scenario)
    every = [Case(scenario, cut, torn) for cut in range(total) for torn in TEARS]
    cases = campaign.sample(f"torn {scenario}", every, _SAMPLE)
    ran = in_parallel(run_case, cases)
    record_property(
        f"torn operations, {scenario}",
        f"{len(ran)}/{len(cases)} of {total} operations, {len(TEARS)} ways each",
    )
