"""The checks of this folder notice mistakes that are made in the device code on purpose."""

import pytest
from base_flash import MOVED_ON
from life_checks import CHECKS
from power_cut import in_parallel
from seeded_bugs import SEEDED_BUGS, SeededBug

# A board that a seeded bug keeps from going on is not waited for any longer than this.
_PATIENCE_S = 4


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_device_code_passes_every_check(check):
    check((), 30)


def _is_caught(bug: SeededBug) -> bool:
    try:
        bug.check(bug.edits, _PATIENCE_S)
    except (AssertionError, TimeoutError) as e:
        # An edit that no longer fits must not count as a bug that was caught.
        assert MOVED_ON not in str(e), str(e)
        return True
    return False


def test_every_seeded_bug_is_caught(record_property):
    caught = in_parallel(_is_caught, SEEDED_BUGS)
    missed = [bug.name for bug, is_caught in zip(SEEDED_BUGS, caught, strict=True) if not is_caught]
    assert not missed, "\n".join(
        f"not caught: {name}; repeat it with: python tests/power/repeat.py --bug '{name}'"
        for name in missed
    )
    record_property("seeded bugs caught", f"{sum(caught)}/{len(SEEDED_BUGS)}")
