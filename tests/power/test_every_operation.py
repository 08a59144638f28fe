"""The power goes before every flash operation of an update, its trial, and its end."""

import pytest
from power_cut import Case, count_operations, in_parallel, run_case
from releases import CUT_SCENARIOS


@pytest.mark.parametrize("scenario", CUT_SCENARIOS)
def test_a_power_cut_before_any_operation_leaves_a_whole_version(scenario, record_property):
    total = count_operations(scenario)
    ran = in_parallel(run_case, [Case(scenario, cut) for cut in range(total)])
    record_property(f"power cuts, {scenario}", f"{len(ran)}/{total}")
