"""What was refused or taken back never runs: not with the record lost, and not by going back."""

import pytest
from power_cut import TEARS, count_operations, in_parallel
from refused import REFUSALS, REJECTIONS, NeverRuns, count_refusal, run_never_runs

_SAMPLE = 4


@pytest.mark.campaign
@pytest.mark.parametrize("kind", REFUSALS)
def test_an_image_that_is_refused_never_runs(kind, campaign, record_property):
    _run_all(kind, count_refusal(kind), campaign, record_property)


@pytest.mark.campaign
@pytest.mark.parametrize("kind", REJECTIONS)
def test_a_release_that_is_taken_back_never_runs(kind, campaign, record_property):
    _run_all(kind, count_operations(kind), campaign, record_property)


def _run_all(kind, total, campaign, record_property):
    every = [NeverRuns(kind, cut, torn) for cut in range(total) for torn in ("none", *TEARS)]
    cases = [NeverRuns(kind), *campaign.sample(f"never runs {kind}", every, _SAMPLE)]
    ran = in_parallel(run_never_runs, cases)
    record_property(f"never run, {kind}", f"{len(ran)}/{len(cases)} of {total} operations")
