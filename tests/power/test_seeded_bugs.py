"""The checks of this folder notice mistakes that are made in the device code on purpose."""

import life_checks
import pytest
from base_flash import StaleEditError
from power_cut import in_parallel
from seeded_bugs import SEEDED_BUGS, SeededBug

# A board that a seeded bug keeps from going on is not waited for any longer than this.
_PATIENCE_S = 6
_SAMPLE = 12


@pytest.mark.parametrize("check", life_checks.CHECKS, ids=lambda check: check.__name__)
def test_the_device_code_passes_every_check(check):
    check((), 30)


@pytest.mark.parametrize("bug", SEEDED_BUGS, ids=lambda bug: bug.name)
def test_a_seeded_bug_fits_the_code_as_it_is(bug):
    assert bug.rom() != SeededBug("none", bug.check, ()).rom()


@pytest.mark.parametrize(
    "edit",
    [
        ("record.py", "a text that moved on", "x"),
        ("record.py", "self.", "x"),  # which is there often
        ("gone.py", "x", "y"),
    ],
)
def test_a_seeded_bug_that_does_not_fit_the_code_fails_and_is_not_caught(edit):
    stale = SeededBug("stale", life_checks.good_is_confirmed, (edit,))
    with pytest.raises(StaleEditError, match=rf"'stale' .* lib/ota/{edit[0]} has this text \d+ "):
        stale.caught_by(_PATIENCE_S)


@pytest.mark.parametrize(
    ("line", "error"),
    [("    gone()\n", "'broken' is a NameError"), ("    gone(\n", "line 1.*SyntaxError")],
)
def test_a_seeded_bug_that_breaks_the_code_fails_and_is_not_caught(line, error):
    edit = ("record.py", "def load():\n", "def load():\n" + line)
    broken = SeededBug("broken", life_checks.good_is_confirmed, (edit,))
    with pytest.raises(StaleEditError, match=error):
        broken.caught_by(_PATIENCE_S)


@pytest.mark.campaign
def test_every_seeded_bug_is_caught(campaign, record_property):
    bugs = campaign.sample("seeded bugs", SEEDED_BUGS, _SAMPLE)
    caught = in_parallel(lambda bug: bug.caught_by(_PATIENCE_S) is not None, bugs)
    missed = [bug for bug, is_caught in zip(bugs, caught, strict=True) if not is_caught]
    assert not missed, "\n".join(
        f"not caught: {bug.name}; repeat it with: {bug.command}" for bug in missed
    )
    record_property("seeded bugs caught", f"{sum(caught)}/{len(bugs)} of {len(SEEDED_BUGS)}")
