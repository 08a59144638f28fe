"""The power goes before flash operations of a data update, alone and with an application, of its
trial, and of taking it back; in the middle of them; and a second time in the recovery: the
application always finds the data that belong to it.
"""

import functools

import pytest
from data_cut import (
    SCENARIOS,
    DataCut,
    count_data_operations,
    run_data_cut,
    run_second_data_cuts,
)
from power_cut import TEARS, in_parallel

pytestmark = pytest.mark.campaign

_SAMPLE = 5
_FIRST_SAMPLE = 2
_SECOND_SAMPLE = 2
_total = functools.cache(count_data_operations)
# How the data travel makes no difference to what comes after they are received.
_TARS = [name for name in SCENARIOS if SCENARIOS[name].kind == "tar"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_power_cut_before_any_operation_leaves_an_application_with_its_data(
    name, campaign, record_property
):
    total = _total(name)
    cuts = campaign.sample(f"data {name}", range(total), _SAMPLE)
    ran = in_parallel(run_data_cut, [DataCut(name, cut) for cut in cuts])
    record_property(f"power cuts, data {name}", f"{len(ran)}/{len(cuts)} of {total} operations")


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_torn_operation_leaves_an_application_with_its_data(name, campaign, record_property):
    total = _total(name)
    every = [DataCut(name, cut, torn) for cut in range(total) for torn in TEARS]
    ran = in_parallel(run_data_cut, campaign.sample(f"torn data {name}", every, _SAMPLE))
    record_property(
        f"torn operations, data {name}",
        f"{len(ran)}/{len(ran)} of {total} operations, {len(TEARS)} ways each",
    )


@pytest.mark.parametrize("name", _TARS)
def test_a_second_power_cut_does_no_more_harm_than_the_first(name, campaign, record_property):
    cuts = range(_total(name))
    # Each first cut as it is, and with a tear: each tear has its turn.
    every = [DataCut(name, cut, torn) for cut in cuts for torn in ("none", TEARS[cut % len(TEARS)])]

    def run(first):
        def choose(total):
            step = 1 if first.torn == "none" else len(TEARS)
            seconds = range(first.cut % step, total, step)
            return campaign.sample(f"second {first}", seconds, _SECOND_SAMPLE)

        return run_second_data_cuts(first, choose)

    firsts = campaign.sample(f"second data {name}", every, _FIRST_SAMPLE)
    ran = sum(in_parallel(run, firsts))
    record_property(f"second cuts, data {name}", f"{ran}/{ran} after {len(firsts)} first cuts")
