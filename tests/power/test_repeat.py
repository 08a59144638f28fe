"""A failing case of the power tests names the command that repeats it, and that command does."""

import shlex
import subprocess
import sys

import pytest
from boards import ROOT
from data_cut import DataCut, DataLife, run_data_cut
from life import Life
from low_memory import LowMemory, run_low_memory
from power_cut import Case, run_case
from refused import NeverRuns, run_never_runs
from seeded_bugs import SEEDED_BUGS
from upload_cut import UploadCut, run_upload_cut

_CASES = [
    (Case("raises", 14, "prefix", second=3), run_case),
    (NeverRuns("stranger", 4, "suffix"), run_never_runs),
    (UploadCut(20), run_upload_cut),
    (LowMemory(40, "boot"), run_low_memory),
]


def _fail(*_):
    raise AssertionError("this went wrong")


@pytest.mark.parametrize(("case", "run"), _CASES, ids=lambda x: getattr(x, "__name__", ""))
def test_a_failure_names_the_command_that_repeats_it(monkeypatch, case, run):
    monkeypatch.setattr(Life, "update_further", _fail)
    with pytest.raises(AssertionError) as failure:
        run(case)
    first, *said, last = str(failure.value).splitlines()
    assert (first, last) == ("this went wrong", f"repeat it with: {case.command}")
    assert "[ota] I: boot: slot b" in said


@pytest.mark.parametrize(("case", "run"), _CASES, ids=lambda x: getattr(x, "__name__", ""))
def test_that_command_repeats_the_case_and_shows_what_the_board_said(case, run):
    done = _repeat(case.command)
    assert done.returncode == 0, done.stderr
    assert "app after runs with part after" in done.stdout
    assert _boots(done.stdout.splitlines()) == _boots(run(case))


def test_a_cut_in_an_update_of_data_is_repeated_too(monkeypatch):
    case = DataCut("tied", 120, "prefix", second=2)
    done = _repeat(case.command)
    assert done.returncode == 0, done.stderr
    assert _boots(done.stdout.splitlines()) == _boots(run_data_cut(case))
    monkeypatch.setattr(DataLife, "update_further", _fail)
    with pytest.raises(AssertionError, match="this went wrong") as failure:
        run_data_cut(case)
    assert str(failure.value).endswith(f"repeat it with: {case.command}")


def test_a_seeded_bug_is_repeated_with_status_0_where_it_is_caught():
    bug = next(bug for bug in SEEDED_BUGS if "floor" in bug.name)
    done = _repeat(bug.command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{bug.name}: caught\n")


def _boots(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("---", "app "))]


def _repeat(command: str) -> subprocess.CompletedProcess:
    _, *arguments = shlex.split(command)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
