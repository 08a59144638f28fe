"""A board of a scenario in its own folder, and the steps of its life up to a further update."""

import contextlib
import functools
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from base_flash import AFTER_NEW_KEYS, CONFIRMED, base_flash, replace_files, scripts
from boards import own_ip
from mpota.sim import Board
from mpota.sim.rom_modules import control
from oracle import RECORD, BrokenError, Verdict, judge
from releases import AFTER, KEYS, KEYS_BEFORE_RENAME, NEW, NEW_KEYS, OLD_KEYS, OLDER, SEQUENCES
from scenarios import Edit, Scenario

RUNS = r"^app (\S+) runs with part (\S+)$"
LISTENS = "listens on port"
REFUSED = r"^refused: ERROR\[(\d+)\]"
_ALONE = "the services run alone"
# What a board says that will not come to the end of a trial.
_NO_END = f"{_ALONE}|boot [4-9] of 3"
_NO_VERSION = 37
_LAST_LINES = 40


@functools.cache
def _judge_base(base: Path, scenario: Scenario) -> Verdict:
    return judge(base, scenario.lacks_record, scenario.has_damaged_slots)


class Life:
    """A copy of a scenario's board, and the steps of its life.

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
        self._rtc: list[int] = []  # for the next board: words that it begins with
        self._folder = tempfile.TemporaryDirectory(prefix="mpota-power-")
        self.flash = Path(self._folder.name, "flash.img")
        shutil.copy(flash or base, self.flash)
        self._may_lack_record = scenario.lacks_record
        self._before = _judge_base(base, scenario)

    def __enter__(self) -> "Life":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._folder.cleanup()
        if error is not None:
            error.add_note(self.last_lines)

    @property
    def last_lines(self) -> str:
        """The last lines of the board."""
        return "\n".join(self.lines[-_LAST_LINES:])

    def board(self, script: str = "", **settings: object) -> Board:
        """Return a board, switched off, over this life's flash."""
        self.lines.append(f"--- power on, {script or 'no'} script {settings or ''}")
        settings = {
            "ip": own_ip(),
            "on_line": self.lines.append,
            "scripts": scripts(script),
        } | settings
        board = Board(self.flash, **settings)
        for number, word in enumerate(self._rtc):
            board.control[control.RTC + 4 * number] = word
        self._rtc = []
        return board

    def keep_rtc_of(self, board: Board) -> None:
        """Let the next board begin with the RTC memory that *board* has when its power fails."""
        clear = board.control.clear_rtc

        def clear_rtc() -> None:
            if not self._rtc:  # it is cleared once more when the board is stopped
                ats = range(control.RTC, control.RTC + control.RTC_SIZE, 4)
                self._rtc = [board.control[at] for at in ats]
            clear()

        board.control.clear_rtc = clear_rtc

    # What the flash says

    def _ask_oracle(self) -> Verdict:
        return judge(self.flash, self._may_lack_record, self.scenario.has_damaged_slots)

    def judge(self) -> Verdict:
        """Return the oracle's verdict, after a comparison with the board before.

        Nothing may have changed outside of /.ota and the idle slot, but for the keys, and nothing
        that was rejected may be usable.
        """
        verdict = self._ask_oracle()
        self._check_others(verdict)
        self._check_slots(verdict)
        self._check_record(verdict)
        self.lines.append(f"--- {verdict.state}, {verdict.runs or 'no application'} must run")
        return verdict

    def _check_others(self, verdict: Verdict) -> None:
        before, others = self._before.others, verdict.others
        if self.scenario.new_keys:
            self._check_keys(verdict)
            others = others | {KEYS: before[KEYS]}
            others.pop(KEYS_BEFORE_RENAME, None)
        if others != before:
            names = [n for n, data in before.items() if others.get(n) != data]
            raise BrokenError(f"files outside of /.ota have changed: {names or 'there are more'}")
        if verdict.beside != self._before.beside:
            raise BrokenError("flash outside of the slots and the file system has changed")

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

    def _check_slots(self, verdict: Verdict) -> None:
        # The slot that ran in the beginning is left alone until another version is confirmed and
        # updated in its turn; a trial that was taken back is marked.
        record, before = self._before.record, self._before.slots
        for letter in [record.active] if record else before:
            is_same = verdict.slots[letter].content == before[letter].content
            if before[letter].is_usable and not is_same and verdict.runs != AFTER:
                raise BrokenError(f"slot {letter}, which was a good one, has changed")
        was_left = self.scenario.script == "revert" and verdict.rejected == SEQUENCES[NEW]
        for letter, slot in verdict.slots.items():
            if slot.is_usable and slot.sequence == verdict.rejected and not was_left:
                raise BrokenError(f"slot {letter} is usable, and its version was rejected")

    def _check_record(self, verdict: Verdict) -> None:
        # The floor is the highest sequence that was ever confirmed.
        record, before = verdict.record, self._before.record
        if record is None:
            return
        confirmed = (verdict.active and verdict.active.sequence) or 0
        floor = max(confirmed, before.floor if before else 0)
        if record.floor != floor:
            raise BrokenError(f"the floor is {record.floor}, not {floor}")
        if before and not self._may_lack_record and record.generation < before.generation:
            raise BrokenError("the record's generation has fallen")

    # Steps

    def cut(self, script: str, operation: int, torn: str = "none") -> None:
        """Run the board with *script* until the power goes before *operation*."""
        board = self.board(script, watchdog_ms=self.scenario.watchdog_ms)
        try:
            board.cut_power_after(operation, torn)
            board.power_on()
            assert board.wait_for_power_cut(self.timeout_s), f"operation {operation} never came"
            assert board.violation == ""
        finally:
            board.stop()

    def next_script(self, verdict: Verdict) -> str:
        """Return the script of the recovery: after a cut that left nothing to do, try again."""
        if verdict.state != "trial" and verdict.runs == self.scenario.first_version:
            return self.scenario.script
        return ""

    def run_to_the_end(self, script: str, verdict: Verdict | None) -> int:
        """Run the board until it is settled; return how many flash operations that took.

        With *verdict*, the version that runs first must be the one that it names.
        """
        with self.board(script, watchdog_ms=self.scenario.watchdog_ms) as board:
            if verdict and not script:
                self._must_run(board, verdict.runs)
            if verdict is None or verdict.state == "trial" or script:
                self._wait_for_the_end(board, verdict if not script else None)
            if verdict and verdict.state == "idle" and not script:
                assert board.operations == 0, "an idle boot has written to flash"
            assert board.violation == ""
            return board.operations

    def _must_run(self, board: Board, version: str | None) -> None:
        # An application says what it is before the board listens.
        said = board.wait_for(f"{RUNS}|{LISTENS}", self.timeout_s)
        assert said[1] == said[2], f"a mix of versions: {said[0]}"
        assert said[1] == version, f"{said[1] or 'no application'} runs, not {version}"
        if version != self.scenario.bad:
            board.wait_for(LISTENS, self.timeout_s)

    def _wait_for_the_end(self, board: Board, before: Verdict | None) -> None:
        final, is_confirmed = self._end(before)
        wanted, other = f"^app {final} runs" if final else _ALONE, CONFIRMED
        if is_confirmed:
            wanted, other = CONFIRMED, REFUSED
        said = board.wait_for(f"{wanted}|{other}|{_NO_END}", self.timeout_s)[0]
        assert re.match(wanted, said), f"the board said: {said}"

    def _end(self, before: Verdict | None) -> tuple[str | None, bool]:
        # The version that runs in the end, and whether it is confirmed then.
        if before is None:
            return self.scenario.final, self.scenario.bad is None and self.scenario.script != ""
        active = before.active.version if before.active and before.active.is_usable else None
        if before.state == "trial" and before.runs != active and before.runs != self.scenario.bad:
            return before.runs, True
        return (active if before.record else before.runs), False

    def must_be_settled(self, before: Verdict | None) -> None:
        """Check that all is as it must be after a recovery from *before*, or a life without a cut.

        Nothing is on trial, the right version is active and the right sequence rejected.
        """
        verdict = self.judge()
        assert verdict.state == "idle" or verdict.runs is None, f"still {verdict.state}"
        final, is_confirmed = self._end(before)
        assert verdict.runs == final, f"{verdict.runs} is active, not {final}"
        assert KEYS_BEFORE_RENAME not in verdict.others, "keys are left on their way"
        rejected = self._rejected(before, is_confirmed)
        assert verdict.rejected == rejected, f"rejected is {verdict.rejected}, not {rejected}"
        if before is None and self.scenario.script or before and before.state == "trial":
            told = "confirmed" if is_confirmed else "taken back"
            sequence = SEQUENCES[final] if is_confirmed else rejected
            outcome = verdict.record.outcome
            assert outcome.startswith(f"{told}: {sequence}"), f"outcome is {outcome!r}"

    def _rejected(self, before: Verdict | None, is_confirmed: bool) -> int:
        if before is None:
            return self.scenario.rejected
        if before.state != "trial":
            return before.rejected
        if is_confirmed:
            return before.active.sequence if before.record.is_revert else 0
        return before.slots[before.record.trial].sequence

    def recover(self, verdict: Verdict) -> None:
        """Run the board after a power cut, and then see that it takes a further update."""
        self.run_to_the_end("", verdict)
        self.must_be_settled(verdict)
        self.update_further()

    def lose_record_and_revert(self) -> None:
        """Delete the record, reset, and then go back: what was refused or rejected never runs."""
        replace_files(self.flash, {RECORD: None})
        self._may_lack_record = True
        verdict = self.judge()
        assert verdict.runs == self.scenario.first_version, f"{verdict.runs} is usable"
        self.run_to_the_end("", verdict)
        self.go_back()

    def go_back(self) -> None:
        """Let the owner go back: to a version that is usable, or to none."""
        verdict = self.judge()
        with self.board("revert") as board:
            if verdict.idle.is_usable:
                assert verdict.idle.version == OLDER, f"{verdict.idle.version} is usable"
                board.wait_for(f"^app {OLDER} runs", self.timeout_s)
                board.wait_for(CONFIRMED, self.timeout_s)
            else:
                said = board.wait_for(f"{REFUSED}|^app ", self.timeout_s)
                assert said[1] == str(_NO_VERSION), f"the board said: {said[0]}"
                self._must_run(board, verdict.runs)
            assert board.violation == ""

    def update_further(self) -> None:
        """See that one more update, signed by a key that counts now, is taken and confirmed."""
        before = self._ask_oracle()
        keys = before.others.get(KEYS)
        name = AFTER_NEW_KEYS if keys == NEW_KEYS else AFTER
        with self.board(f"bring_{name}") as board:
            board.wait_for(CONFIRMED, self.timeout_s)
            assert board.violation == ""
        verdict = self.judge()
        assert (verdict.state, verdict.runs) == ("idle", AFTER)
        assert verdict.others.get(KEYS) == keys
        if before.record and before.record.active:
            letter = before.record.active
            same = before.slots[letter].content == verdict.slots[letter].content
            assert same, f"slot {letter} has changed, and the update went into the other one"


@contextlib.contextmanager
def repeatable(life: Life, command: str) -> Iterator[None]:
    """Let a failure inside say what the board of *life* said last, and the *command* to repeat it.

    It becomes an AssertionError.
    """
    try:
        yield
    except (AssertionError, TimeoutError) as e:
        raise AssertionError(f"{e}\n{life.last_lines}\nrepeat it with: {command}") from e
