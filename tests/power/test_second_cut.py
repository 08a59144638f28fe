"""The power goes a second time, before every flash operation of the recovery from the first cut."""

import pytest
from power_cut import in_parallel, record_stores, run_second_cuts
from releases import CUT_SCENARIOS


def _first_cuts(scenario: str) -> list[int]:
    staged, installed, *trial = record_stores(scenario)
    # Before the rename of each record of the trial: of each boot that is counted, and of the end.
    cuts = [store[-1] for store in trial]
    if scenario == "update":  # up to there the others are as this one
        cuts += [(staged.stop + installed.start) // 2, installed[-1]]
    return cuts


@pytest.mark.parametrize("scenario", CUT_SCENARIOS)
def test_a_second_power_cut_does_no_more_harm_than_the_first(scenario, record_property):
    cuts = _first_cuts(scenario)
    ran = in_parallel(lambda cut: run_second_cuts(scenario, cut), cuts)
    assert all(ran), "there was nothing to recover from"
    record_property(
        f"second cuts, {scenario}", f"{sum(ran)}/{sum(ran)} (all after {len(cuts)} first cuts)"
    )
