"""Memory runs out in an update or a boot: with the heap back as it was, the board is as before."""

import pytest
from low_memory import HEAPS_KB, STARTS, LowMemory, run_low_memory


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("heap_kb", HEAPS_KB)
def test_too_little_memory_leaves_a_whole_version(start, heap_kb):
    run_low_memory(LowMemory(heap_kb, start))
