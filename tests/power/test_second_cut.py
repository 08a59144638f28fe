"""The power goes a second time, before every flash operation of the recovery from the first cut."""

import pytest
from power_cut import (
    TEARS,
    Case,
    count_operations,
    count_receiving,
    count_recovery,
    in_parallel,
    run_case,
)
from scenarios import SCENARIOS

_FIRST_SAMPLE = 5
_SECOND_SAMPLE = 2
# Where the cut came before anything was accepted, the recovery is another try. It is cut again in
# these scenarios, and would go the same way in the others: after each first cut, or after every
# eighth of an image that fills the slot.
_TRIES_AGAIN = {"update": 1, "large-update": 8}


@pytest.mark.campaign
@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if not SCENARIOS[s].is_slow])
def test_a_second_power_cut_does_no_more_harm_than_the_first(scenario, campaign, record_property):
    name = f"second cuts {scenario}"
    start = 0 if scenario in _TRIES_AGAIN else count_receiving(scenario)
    cuts = range(start, count_operations(scenario))
    # Each first cut as it is, and with a tear: each tear has its turn.
    every = [(cut, torn) for cut in cuts for torn in ("none", TEARS[cut % len(TEARS)])]
    firsts = campaign.sample(name, every, _FIRST_SAMPLE)
    counts = in_parallel(lambda first: count_recovery(scenario, *first), firsts)
    cases = []
    for (cut, torn), (total, tries_again) in zip(firsts, counts, strict=True):
        if tries_again and cut % _TRIES_AGAIN.get(scenario, cut + 1):
            continue
        seconds = range(total) if torn == "none" else range(cut % len(TEARS), total, len(TEARS))
        some = campaign.sample(f"{name} {cut} {torn}", seconds, _SECOND_SAMPLE)
        cases += [Case(scenario, cut, torn, second) for second in some]
    ran = in_parallel(run_case, cases)
    record_property(
        f"second cuts, {scenario}", f"{len(ran)}/{len(cases)} after {len(firsts)} first cuts"
    )
