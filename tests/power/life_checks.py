"""Checks of an update's life; a seeded bug must make one of them fail.

Each check is called with the edits made to the device code and how long to wait for the board, and
raises AssertionError or TimeoutError.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

from base_flash import replace_files, scripts
from boards import SETTINGS
from data_cut import SCENARIOS as DATA_SCENARIOS
from data_cut import DataCut, DataLife, count_data_operations, run_data_cut
from life import LISTENS, REFUSED, RUNS, Life
from mpota import arduino
from mpota.arduino.outcomes import WrongPasswordError
from mpota.board.files import settings_file
from oracle import SLOTS
from power_cut import Case, count_operations, run_case
from refused import REJECTIONS, NeverRuns, count_refusal, run_never_runs
from releases import AFTER, KEYS, NEW, OLD, OLD_KEYS, release
from scenarios import SCENARIOS, Edit

Edits = tuple[Edit, ...]
Check = Callable[[Edits, float], None]

# Gives back otherwise what is written to /.ota/record.new, in the boot that it comes before.
_MANGLE = b"""
import builtins
_plain_open = builtins.open

class Mangled:
    def __init__(self, file):
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, data):
        return self._file.write(bytes(len(data)))

def _open(name, mode="r"):
    file = _plain_open(name, mode)
    return Mangled(file) if name[:12] == "/.ota/record" and "w" in mode else file

builtins.open = _open
"""


def good_is_confirmed(edits: Edits, timeout_s: float) -> None:
    """A good release is confirmed, in a first update and in a later one, small or large."""
    for scenario in ("first-update", "update", "large-update"):
        with _to_the_end(scenario, edits, timeout_s):
            pass


def bad_is_taken_back(edits: Edits, timeout_s: float) -> None:
    """A release that raises or never gets to be healthy is taken back, and refused from then on."""
    for scenario in ("raises", "never-confirmed"):
        script = SCENARIOS[scenario].script
        with _to_the_end(scenario, edits, timeout_s) as life, life.board(script) as board:
            board.wait_for(r"^refused: ERROR\[35\]", timeout_s)


def hang_is_reset(edits: Edits, timeout_s: float) -> None:
    """A release that hangs is reset by the watchdog, and taken back."""
    with _to_the_end("hangs", edits, timeout_s):
        pass


def trial_refuses_an_update(edits: Edits, timeout_s: float) -> None:
    """No update is taken during a trial."""
    with Life(SCENARIOS["undecided"], edits=edits) as life:
        with life.board(life.scenario.script) as board:
            board.wait_for(f"^app {NEW} runs", timeout_s)
            said = board.wait_for(rf"{REFUSED}|^app {AFTER} runs", timeout_s)
            assert said[1] == "34", f"the board said: {said[0]}"
        assert life.judge().state == "trial", "the trial has ended"


@functools.cache
def refused_never_runs(kind: str) -> Check:
    """Return the check that an image that is refused never runs.

    That holds though the record is lost or the owner goes back. *kind* is one of REFUSALS.
    """

    def check(edits: Edits, timeout_s: float) -> None:
        run_never_runs(NeverRuns(kind), edits, timeout_s)

    return check


def rejected_never_runs(edits: Edits, timeout_s: float) -> None:
    """A release that was taken back never runs, with the record lost or by going back."""
    for scenario in REJECTIONS:
        run_never_runs(NeverRuns(scenario), edits, timeout_s)


def cut_before_a_refusal_is_harmless(edits: Edits, timeout_s: float) -> None:
    """An image that is there, but not verified when the power goes, never runs."""
    for cut in reversed(range(count_refusal("stranger", edits))):
        run_never_runs(NeverRuns("stranger", cut), edits, timeout_s)


@functools.cache
def cut_is_harmless(scenario: str) -> Check:
    """Return the check that a cut before any operation of *scenario* leaves a version whole."""

    def check(edits: Edits, timeout_s: float) -> None:
        # From the last on: what is done wrongly is done at the end, mostly.
        for cut in reversed(range(count_operations(scenario, edits))):
            run_case(Case(scenario, cut), edits, timeout_s)

    return check


def torn_erase_brings_nothing_back(edits: Edits, timeout_s: float) -> None:
    """An update over a version that was taken back leaves it unusable, however its erases end."""
    scenario = "update-after-rejection"
    for cut in range(count_operations(scenario, edits)):
        run_case(Case(scenario, cut, "other-words"), edits, timeout_s)


def owner_goes_back(edits: Edits, timeout_s: float) -> None:
    """The version before runs again, and the one that was left is not taken any more."""
    with _to_the_end("revert", edits, timeout_s) as life, life.board(f"bring_{NEW}") as board:
        board.wait_for(r"^refused: ERROR\[3[56]\]", timeout_s)


def owner_does_not_go_on(edits: Edits, timeout_s: float) -> None:
    """Going back leads to no update that waits for its first boot."""
    with Life(SCENARIOS["update"], edits=edits, timeout_s=timeout_s) as life:
        with life.board("stage_and_revert") as board:
            said = board.wait_for(f"{REFUSED}|^app ", timeout_s)
        assert said[1] == "37", f"the board said: {said[0]}"
        life.recover(life.judge())


def record_that_is_lost_is_made_anew(edits: Edits, timeout_s: float) -> None:
    """Without a record the newest version runs that is usable."""
    for scenario in ("record-lost", "record-and-slot-lost"):
        with Life(SCENARIOS[scenario], edits=edits, timeout_s=timeout_s) as life:
            life.recover(life.judge())


def damaged_slot_is_not_tried(edits: Edits, timeout_s: float) -> None:
    """A slot that flash gives back otherwise than it was verified is not tried."""
    with _on_trial(edits, timeout_s) as life:
        data = bytearray(life.flash.read_bytes())
        data[SLOTS[life.judge().record.trial] + 0x1800] ^= 0xFF
        life.flash.write_bytes(data)
        with life.board() as board:
            runs = board.wait_for(RUNS, timeout_s)[1]
            board.wait_for(LISTENS, timeout_s)
        assert runs == OLD, f"{runs} runs, and is damaged"
        verdict = life.judge()
        assert (verdict.state, verdict.rejected) == ("idle", 0), f"{verdict.state}"


def record_that_flash_does_not_take_changes_nothing(edits: Edits, timeout_s: float) -> None:
    """A trial begins only when its count is on flash; else the record stays as it was."""
    with _on_trial(edits, timeout_s) as life:
        before = life.judge().record
        replace_files(life.flash, {"/mangle.py": _MANGLE})
        with life.board(scripts=("mangle.py", *scripts(""))) as board:
            board.wait_for(f"{LISTENS}|^app {NEW} runs", timeout_s)
            ran = [line for line in board.lines if line.startswith("app ")]
        assert not ran, f"{ran[0]}: its trial is not counted"
        replace_files(life.flash, {"/mangle.py": None})
        verdict = life.judge()
        assert verdict.record == before, "the record has changed"
        life.recover(verdict)


def data_come_to_their_end(edits: Edits, timeout_s: float) -> None:
    """Data are confirmed or taken back, alone and with an application, and what is kept is kept."""
    for scenario in DATA_SCENARIOS:
        count_data_operations(scenario, edits, timeout_s)


@functools.cache
def data_cut_is_harmless(scenario: str) -> Check:
    """Return the check that a cut in an update of /data leaves an application with its data."""

    def check(edits: Edits, timeout_s: float) -> None:
        for cut in reversed(range(count_data_operations(scenario, edits, timeout_s))):
            run_data_cut(DataCut(scenario, cut), edits, timeout_s)

    return check


def damaged_data_are_refused(edits: Edits, timeout_s: float) -> None:
    """Data that the flash gives back otherwise than they were received are not tried."""
    with DataLife("alone", edits, timeout_s) as life:
        life.refuse("damaged")


def unsigned_data_are_refused(edits: Edits, timeout_s: float) -> None:
    """A board with keys does not try data that are not signed."""
    with DataLife("alone", edits, timeout_s) as life:
        replace_files(life.flash, {KEYS: OLD_KEYS})
        life.refuse("bring")


def wrong_password_is_refused(edits: Edits, timeout_s: float) -> None:
    """Without the password, no host causes a flash operation, by either handshake."""
    with Life(SCENARIOS["update"], edits=edits) as life:
        replace_files(life.flash, settings_file(SETTINGS | {"password": "right"}))
        with life.board() as board:
            board.wait_for(LISTENS, timeout_s)
            for auth in ("strict", "classic"):
                try:
                    arduino.upload(release(NEW), board_ip=board.ip, password="wrong", auth=auth)
                except WrongPasswordError:
                    continue
                raise AssertionError(f"a wrong password was taken, handshake {auth}")
            assert board.operations == 0, "flash was written"


@contextlib.contextmanager
def _to_the_end(scenario: str, edits: Edits, timeout_s: float) -> Iterator[Life]:
    with Life(SCENARIOS[scenario], edits=edits, timeout_s=timeout_s) as life:
        life.run_to_the_end(life.scenario.script, None)
        life.must_be_settled(None)
        yield life


@contextlib.contextmanager
def _on_trial(edits: Edits, timeout_s: float) -> Iterator[Life]:
    # A board that is to try `new` at its next boot, for the first time.
    with Life(SCENARIOS["update"], edits=edits, timeout_s=timeout_s) as life:
        with life.board("stage_new") as board:
            board.wait_for(LISTENS, timeout_s)
        assert life.judge().state == "trial", "nothing is on trial"
        yield life


# Those that are no campaign of their own; the others are in test_every_operation.py and
# test_never_runs.py.
CHECKS = (
    good_is_confirmed,
    bad_is_taken_back,
    hang_is_reset,
    trial_refuses_an_update,
    owner_goes_back,
    owner_does_not_go_on,
    record_that_is_lost_is_made_anew,
    damaged_slot_is_not_tried,
    record_that_flash_does_not_take_changes_nothing,
    data_come_to_their_end,
    damaged_data_are_refused,
    unsigned_data_are_refused,
    wrong_password_is_refused,
)
