"""Memory runs out in an update or a boot: with the heap back as it was, the board is as before."""

import pytest
from low_memory import HEAPS_KB, STARTS, LowMemory, run_low_memory
from power_cut import in_parallel

_SAMPLE = 3


@pytest.mark.campaign
@pytest.mark.parametrize("start", STARTS)
def test_too_little_memory_leaves_a_whole_version(start, campaign, record_property):
    ends = (max(HEAPS_KB), min(HEAPS_KB))  # which must suffice, and must not
    heaps = {*ends, *campaign.sample(f"heap {start}", HEAPS_KB, _SAMPLE)}
    ran = in_parallel(run_low_memory, [LowMemory(heap_kb, start) for heap_kb in heaps])
    record_property(f"low memory, {start}", f"{len(ran)}/{len(heaps)} of {len(HEAPS_KB)} heaps")
