"""The power goes a second time, before every flash operation of the recovery from the first cut."""

import pytest
from power_cut import TEARS, count_operations, count_receiving, in_parallel, run_second_cuts
from scenarios import SCENARIOS

_FIRST_SAMPLE = 6
_SECOND_SAMPLE = 2
# Where the cut came before anything was accepted, the recovery is another try. It is cut again in
# these scenarios, and would go the same way in the others: after each first cut, or after every
# 24th of an image that fills the slot.
_TRIES_AGAIN = {"update": 1, "large-update": 24}


@pytest.mark.campaign
@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if not SCENARIOS[s].is_slow])
def test_a_second_power_cut_does_no_more_harm_than_the_first(scenario, campaign, record_property):
    name = f"second cuts {scenario}"
    start = 0 if scenario in _TRIES_AGAIN else count_receiving(scenario)
    cuts = range(start, count_operations(scenario))
    # Each first cut as it is, and with a tear: each tear has its turn.
    every = [(cut, torn) for cut in cuts for torn in ("none", TEARS[cut % len(TEARS)])]
    firsts = campaign.sample(name, every, _FIRST_SAMPLE)

    def run(first):
        cut, torn = first

        def choose(total, tries_again):
            if tries_again and cut % _TRIES_AGAIN.get(scenario, cut + 1):
                return []
            step = 1 if torn == "none" else len(TEARS)
            seconds = range(cut % step, total, step)
            return campaign.sample(f"{name} {cut} {torn}", seconds, _SECOND_SAMPLE)

        return run_second_cuts(scenario, cut, torn, choose)

    ran = sum(in_parallel(run, firsts))
    record_property(f"second cuts, {scenario}", f"{ran}/{ran} after {len(firsts)} first cuts")
