"""The power goes before every flash operation of an update, its trial, and its end; and so of a way
back, and of a recovery from damage.
"""

import pytest
from power_cut import Case, count_operations, in_parallel, run_case
from scenarios import SCENARIOS

_SAMPLE = 8
# Of those that wait for the watchdog, or for the end of a trial's time.
_SLOW_SAMPLE = 1


@pytest.mark.campaign
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_power_cut_before_any_operation_leaves_a_whole_version(
    scenario, campaign, record_property
):
    total = count_operations(scenario)
    sample = _SLOW_SAMPLE if SCENARIOS[scenario].is_slow else _SAMPLE
    cuts = campaign.sample(f"cuts {scenario}", range(total), sample)
    ran = in_parallel(run_case, [Case(scenario, cut) for cut in cuts])
    record_property(f"power cuts, {scenario}", f"{len(ran)}/{len(cuts)} of {total} operations")
