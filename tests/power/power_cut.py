"""One power cut in the life of an update, and what must follow it; the command that repeats it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from base_flash import AFTER_NEW_KEYS, Edit, base_flash, bringing
from boards import own_ip
from mpota.sim import Board
from oracle import BrokenError, Verdict, judge
from releases import (
    AFTER,
    KEYS,
    KEYS_BEFORE_RENAME,
    NEW,
    NEW_KEYS,
    OLD,
    OLD_KEYS,
    SCENARIOS,
    SEQUENCES,
    Scenario,
)

RUNS = r"^app (\S+) runs with part (\S+)$"
CONFIRMED = r"trial: slot . is confirmed"
PLAIN_BOOT = ("boot.py", "main.py")
# "suffix" is that of an erase, or of the first 32 bytes of a program: the chip programs so many at
# a time, one such unit after the other, so a program never ends with its first unit blank and a
# later one written. littlefs relies on it: it looks at one unit to see whether the space after a
# commit is erased (its forward CRC).
TEARS = ("prefix", "suffix", "alternate-words", "all-but-last-byte")

_SHOWN_FAILURES = 3


@dataclass(frozen=True)
class Case:
    """A power cut before flash operation *cut* of a scenario; *second*: one in the recovery."""

    scenario: str
    cut: int
    torn: str = "none"
    second: int | None = None

    @property
    def command(self) -> str:
        """The command that repeats exactly this case."""
        options = f" --torn {self.torn}" if self.torn != "none" else ""
        options += f" --second {self.second}" if self.second is not None else ""
        return f"python tests/power/repeat.py {self.scenario} {self.cut}{options}"


class Life:
    """A copy of a scenario's board in its own folder, and the steps of its life.

    The steps raise AssertionError or TimeoutError when something is not as promised. `lines` is
    all that the board said. *edits* are made to the device code. With *flash*, the life goes on
    from that image.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        edits: tuple[Edit, ...] = (),
        timeout_s: float = 30,
        flash: Path | None = None,
    ) -> None:
        base = base_flash(scenario, edits)
        self.scenario = scenario
        self.lines: list[str] = []
        self.timeout_s = timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="mpota-power-")
        self.flash = Path(self._folder.name, "flash.img")
        shutil.copy(flash or base, self.flash)
        self.others = judge(base).others

    def __enter__(self) -> "Life":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def board(self, scripts: tuple[str, ...] = PLAIN_BOOT, **settings: object) -> Board:
        """Return a board, switched off, over this life's flash."""
        self.lines.append(f"--- {', '.join(scripts)} {settings or ''}")
        settings = {"ip": own_ip(), "on_line": self.lines.append} | settings
        return Board(self.flash, scripts=scripts, **settings)

    def judge(self) -> Verdict:
        """Return the oracle's verdict; nothing outside /.ota may have changed but for the keys."""
        verdict = judge(self.flash)
        others = verdict.others
        if self.scenario.new_keys:
            self._check_keys(verdict)
            others = others | {KEYS: self.others[KEYS]}
            others.pop(KEYS_BEFORE_RENAME, None)
        if others != self.others:
            names = [n for n, data in self.others.items() if others.get(n) != data]
            raise BrokenError(f"files outside the slots have changed: {names or 'there are more'}")
        self.lines.append(f"--- {verdict.state}, {verdict.runs} must run")
        return verdict

    def _check_keys(self, verdict: Verdict) -> None:
        # The new keys come at the end of the trial of `new`: then it is one set or the other.
        keys = verdict.others.get(KEYS, b"")
        if verdict.state == "trial" or verdict.runs == AFTER:
            good = keys in (OLD_KEYS, NEW_KEYS)
        elif verdict.state == "idle" and verdict.runs == NEW:
            good = keys == NEW_KEYS
        else:
            good = keys == OLD_KEYS
        if not good:
            names = {OLD_KEYS: "the old ones", NEW_KEYS: "the new ones", b"": "missing or empty"}
            what = names.get(keys, f"not whole, {len(keys)} bytes")
            raise BrokenError(f"{verdict.state}, {verdict.runs} must run: the keys are {what}")

    def cut(self, scripts: tuple[str, ...], operation: int, torn: str = "none") -> None:
        """Run the board with *scripts* until the power goes before *operation*."""
        board = self.board(scripts)
        try:
            board.cut_power_after(operation, torn)
            board.power_on()
            assert board.wait_for_power_cut(self.timeout_s), f"operation {operation} never came"
            assert board.violation == ""
        finally:
            board.stop()

    def cut_again(self, operation: int, torn: str = "none") -> None:
        """Run the board after a power cut until the power goes once more."""
        before = self.judge()
        self.cut(PLAIN_BOOT, operation, torn)
        runs = self.judge().runs
        if self.scenario.is_good:
            assert runs == before.runs, f"{before.runs} became {runs}"

    def run_to_the_end(self, scripts: tuple[str, ...], verdict: Verdict | None) -> int:
        """Run the board until it is settled; return how many flash operations that took.

        With *verdict*, the version that runs first must be the one it names.
        """
        with self.board(scripts) as board:
            match = board.wait_for(RUNS, self.timeout_s)
            assert match[1] == match[2], f"a mix of versions: {match[0]}"
            if verdict:
                assert match[1] == verdict.runs, f"{match[1]} runs, not {verdict.runs}"
            if verdict is None or verdict.state != "idle":
                final = CONFIRMED if self._is_confirmed(verdict) else f"^app {OLD} runs"
                board.wait_for(final, self.timeout_s)
            assert board.violation == ""
            if verdict and verdict.state == "idle":
                assert board.operations == 0, "an idle boot has written to flash"
            return board.operations

    def recover(self, verdict: Verdict) -> None:
        """Run the board after a power cut, and then see that it takes a further update."""
        self.run_to_the_end(PLAIN_BOOT, verdict)
        self.must_be_settled(None if verdict.state == "idle" else self._is_confirmed(verdict))
        self.update_further()

    def _is_confirmed(self, verdict: Verdict | None) -> bool:
        # How what is pending or on trial must end: a good release that gets to run is confirmed.
        return self.scenario.is_good and (verdict is None or verdict.runs == NEW)

    def must_be_settled(self, confirmed: bool | None) -> None:
        """Check that nothing is pending or on trial, and that `new` was *confirmed* or rejected."""
        verdict = self.judge()
        assert verdict.state == "idle", f"still {verdict.state}"
        if confirmed is None:
            return
        assert verdict.runs == (NEW if confirmed else OLD), f"{verdict.runs} is active"
        assert KEYS_BEFORE_RENAME not in verdict.others, "keys are left on their way"
        rejected = 0 if confirmed else SEQUENCES[NEW]
        assert verdict.rejected == rejected, f"rejected is {verdict.rejected}"

    def update_further(self) -> None:
        """See that one more update, signed by a key that counts now, is taken and confirmed."""
        keys = judge(self.flash).others.get(KEYS)
        with self.board(bringing(AFTER_NEW_KEYS if keys == NEW_KEYS else AFTER)) as board:
            board.wait_for(CONFIRMED, self.timeout_s)
            assert board.violation == ""
        verdict = self.judge()
        assert (verdict.state, verdict.runs) == ("idle", AFTER)
        assert verdict.others.get(KEYS) == keys


def count_operations(scenario: str, edits: tuple[Edit, ...] = ()) -> int:
    """Return how many flash operations *scenario* takes without a power cut."""
    with Life(SCENARIOS[scenario], edits=edits) as life:
        operations = life.run_to_the_end(bringing(NEW), None)
        life.must_be_settled(life.scenario.is_good)
        life.update_further()
        return operations


def record_operations(scenario: str, edits: tuple[Edit, ...] = ()) -> list[int]:
    """Return which flash operations of *scenario* are those of a store of the record."""
    return [operation for store in record_stores(scenario, edits) for operation in store]


def record_stores(scenario: str, edits: tuple[Edit, ...] = ()) -> list[range]:
    """Return the flash operations of each store of the record in *scenario*, in their order."""
    flash = base_flash(SCENARIOS[scenario], edits, marks=True)
    found: list[range] = []
    with Life(SCENARIOS[scenario], edits=edits) as life:
        shutil.copy(flash, life.flash)
        total = life.run_to_the_end(bringing(NEW), None)
        for line in life.lines:
            if line.startswith("stored "):
                _, first, end = line.split()
                found.append(range(int(first), int(end)))
    assert found
    assert edits or total == count_operations(scenario), "the marks change what they mark"
    return found


def run_case(case: Case, edits: tuple[Edit, ...] = (), timeout_s: float = 30) -> list[str]:
    """Run *case*; return what the board said. Raises AssertionError with the way to repeat it."""
    life = Life(SCENARIOS[case.scenario], edits=edits, timeout_s=timeout_s)
    with life, repeatable(life, case.command):
        life.cut(bringing(NEW), case.cut, case.torn)
        verdict = life.judge()
        if case.second is not None:
            life.cut_again(case.second, case.torn)
            verdict = life.judge()
        life.recover(verdict)
        return life.lines


def run_second_cuts(scenario: str, cut: int) -> int:
    """Cut before operation *cut*, and then before each of the recovery; return how many those are.

    Raises AssertionError with the way to repeat the case.
    """
    with Life(SCENARIOS[scenario]) as first:
        with repeatable(first, Case(scenario, cut).command):
            first.cut(bringing(NEW), cut)
            after_cut = Path(shutil.copy(first.flash, first.flash.with_suffix(".cut")))
            total = first.run_to_the_end(PLAIN_BOOT, first.judge())
        for second in range(total):
            life = Life(SCENARIOS[scenario], flash=after_cut)
            with life, repeatable(life, Case(scenario, cut, second=second).command):
                life.cut_again(second)
                life.recover(life.judge())
    return total


@contextlib.contextmanager
def repeatable(life: Life, command: str) -> Iterator[None]:
    """Let a failure inside say what the board of *life* said last, and the *command* to repeat it.

    It becomes an AssertionError.
    """
    try:
        yield
    except (AssertionError, TimeoutError) as e:
        said = "\n".join(life.lines[-40:])
        raise AssertionError(f"{e}\n{said}\nrepeat it with: {command}") from e


def in_parallel(run: Callable, cases: Iterable) -> list:
    """Return what *run* returns for each of *cases*. Raises AssertionError with their failures."""

    def attempt(case):
        try:
            return run(case), None
        except AssertionError as e:
            return None, str(e)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(attempt, cases))
    failures = [text for _, text in outcomes if text]
    shown = "\n\n".join(failures[:_SHOWN_FAILURES])
    assert not failures, f"{len(failures)} of {len(outcomes)} failed\n\n{shown}"
    return [value for value, _ in outcomes]
