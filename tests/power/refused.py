"""Versions that must never run: refused though their footers are right, or taken back; and the
command that repeats a case.
"""

from dataclasses import dataclass

from life import REFUSED, Life, repeatable
from oracle import Verdict
from releases import OLDER
from scenarios import SCENARIOS, Edit


@dataclass(frozen=True)
class Kind:
    """Why a version must not run: the scenario that it comes in, its script, and its error."""

    scenario: str
    script: str
    error: int


# All but the last have an image that is whole by its footer.
REFUSALS = {
    "stranger": Kind("new-keys", "bring_stranger", 12),  # signed with another key
    "digest": Kind("update", "digest", 42),  # not the announced SHA-256
    "policy": Kind("update", "policy", 35),  # its sequence is rejected while it comes
    "lies": Kind("update", "bring_lies", 39),  # its records point elsewhere
    "damaged": Kind("update", "damaged", 42),  # flash loses some of it
}
# Scenarios whose version is taken back.
REJECTIONS = ("raises", "never-confirmed", "first-raises", "revert-raises")


@dataclass(frozen=True)
class NeverRuns:
    """A refusal or rejection, with a power cut before operation *cut* (None: without one).

    Then the record is lost, the board is reset, and its owner goes back.
    """

    kind: str
    cut: int | None = None
    torn: str = "none"

    @property
    def command(self) -> str:
        """The command that repeats exactly this case."""
        options = f" --cut {self.cut}" if self.cut is not None else ""
        options += f" --torn {self.torn}" if self.torn != "none" else ""
        return f"python tests/power/repeat.py --never-runs {self.kind}{options}"


def run_never_runs(
    case: NeverRuns, edits: tuple[Edit, ...] = (), timeout_s: float = 30
) -> list[str]:
    """Run *case*; return what the board said. Raises AssertionError with the way to repeat it."""
    refusal = REFUSALS.get(case.kind)
    scenario = SCENARIOS[refusal.scenario if refusal else case.kind]
    life = Life(scenario, edits=edits, timeout_s=timeout_s)
    with life, repeatable(life, case.command):
        if refusal:
            _be_refused(life, case, refusal)
        else:
            _be_taken_back(life, case)
        life.update_further()
        return life.lines


def count_refusal(kind: str, edits: tuple[Edit, ...] = ()) -> int:
    """Return how many flash operations the refused update *kind* takes."""
    refusal = REFUSALS[kind]
    with Life(SCENARIOS[refusal.scenario], edits=edits) as life:
        return _see_refusal(life, refusal)


def _see_refusal(life: Life, refusal: Kind) -> int:
    with life.board(refusal.script) as board:
        said = board.wait_for(f"{REFUSED}|^app ", life.timeout_s)
        assert said[1] and int(said[1]) == refusal.error, f"not refused as it must be: {said[0]}"
        assert board.violation == ""
        return board.operations


def _be_refused(life: Life, case: NeverRuns, refusal: Kind) -> None:
    if case.cut is None:
        _see_refusal(life, refusal)
    else:
        life.cut(refusal.script, case.cut, case.torn)
    verdict = life.judge()
    first = life.scenario.first_version
    assert (verdict.state, verdict.runs) == ("idle", first), f"{verdict.state}, {verdict.runs}"
    assert not verdict.idle.is_usable or verdict.idle.version == OLDER, "it is usable"
    life.lose_record_and_revert()


def _be_taken_back(life: Life, case: NeverRuns) -> None:
    verdict: Verdict | None = None
    if case.cut is None:
        life.run_to_the_end(life.scenario.script, None)
    else:
        life.cut(life.scenario.script, case.cut, case.torn)
        verdict = life.judge()
        life.run_to_the_end("", verdict)
    life.must_be_settled(verdict)
    if life.judge().rejected:  # else the power went before it was on trial
        life.go_back()
        life.lose_record_and_revert()
