"""What must hold in an update's life; a seeded bug must break one of these.

Each check is called with the edits made to the device code and how long to wait for the board, and
raises AssertionError or TimeoutError.
"""

from base_flash import Edit, bringing, replace_files
from boards import SETTINGS
from mpota import arduino
from mpota.arduino.outcomes import WrongPasswordError
from mpota.board.files import settings_file
from power_cut import (
    PLAIN_BOOT,
    RUNS,
    Case,
    Life,
    count_operations,
    record_operations,
    record_stores,
    run_case,
)
from releases import NEW, OLD, SCENARIOS, release

Edits = tuple[Edit, ...]

# Before the record that confirms it, the flash operations of a change of keys that matter: those of
# its rename are among them.
_KEYS_OPERATIONS = 6


def good_is_confirmed(edits: Edits, timeout_s: float) -> None:
    """A good release is confirmed, in a first update and in a later one."""
    for scenario in ("first-update", "update"):
        with _to_the_end(scenario, edits, timeout_s):
            pass


def bad_is_taken_back(edits: Edits, timeout_s: float) -> None:
    """A release that raises or never gets to be healthy is taken back, and refused from then on."""
    for scenario in ("raises", "never-confirmed"):
        life = _to_the_end(scenario, edits, timeout_s)
        with life, life.board(bringing(NEW)) as board:
            board.wait_for(r"refused: ERROR\[35\]", timeout_s)


def hang_is_reset(edits: Edits, timeout_s: float) -> None:
    """A release that hangs meets the watchdog, and is taken back."""
    with Life(SCENARIOS["hangs"], edits=edits) as life:
        with life.board(bringing(NEW), watchdog_ms=400) as board:
            board.wait_for(f"^app {NEW} runs", timeout_s)
            board.wait_for(f"^app {OLD} runs", timeout_s)
        life.must_be_settled(confirmed=False)


def trial_refuses_an_update(edits: Edits, timeout_s: float) -> None:
    """No update is taken during a trial."""
    with Life(SCENARIOS["undecided"], edits=edits) as life:
        with life.board(bringing(NEW)) as board:
            board.wait_for(f"^app {NEW} runs", timeout_s)
            board.wait_for(r"refused: ERROR\[34\]", timeout_s)
        assert life.judge().state == "trial", "the trial has ended"


def damaged_on_arrival_is_refused(edits: Edits, timeout_s: float) -> None:
    """The record never names an image that flash gives back otherwise than it arrived."""
    with Life(SCENARIOS["update"], edits=edits) as life:
        with life.board(bringing("damaged")) as board:
            board.wait_for(r"refused: ERROR\[3\]", timeout_s)
        assert life.judge().state == "idle", "what was refused is not dropped"


def swapped_image_is_dropped(edits: Edits, timeout_s: float) -> None:
    """Only the image that was verified is installed, and not another one that is as whole."""
    _install_after("swap.py", edits, timeout_s)


def damaged_slot_is_dropped(edits: Edits, timeout_s: float) -> None:
    """A slot that flash gives back otherwise than it was written is not tried."""
    _install_after("damage.py", edits, timeout_s)


def cut_in_a_store_is_harmless(edits: Edits, timeout_s: float) -> None:
    """A power cut before any operation of a store of the record leaves a whole version."""
    for scenario in ("update", "raises"):
        operations = record_operations(scenario, edits)
        for cut in operations:
            run_case(Case(scenario, cut), edits, timeout_s)


def cut_in_a_change_of_keys_is_harmless(edits: Edits, timeout_s: float) -> None:
    """A power cut while new keys are taken over leaves the old ones or the new ones."""
    confirmed = record_stores("new-keys", edits)[-1]
    total = count_operations("new-keys", edits)
    for cut in range(confirmed.start - _KEYS_OPERATIONS, total):
        run_case(Case("new-keys", cut), edits, timeout_s)


def strangers_signature_is_refused(edits: Edits, timeout_s: float) -> None:
    """A board with keys takes nothing that is signed with another key."""
    with Life(SCENARIOS["new-keys"], edits=edits) as life:
        with life.board(bringing("stranger")) as board:
            said = board.wait_for(rf"^refused: (\S+)|^app ({NEW}) runs", timeout_s)
        assert said[1] == "ERROR[12]:", f"the board said: {said[0]}"
        assert life.judge().state == "idle", "what was refused is not dropped"


def wrong_password_is_refused(edits: Edits, timeout_s: float) -> None:
    """Who does not know the password gets as far as no flash operation, by either handshake."""
    with Life(SCENARIOS["update"], edits=edits) as life:
        replace_files(life.flash, settings_file(SETTINGS | {"password": "right"}))
        with life.board() as board:
            board.wait_for("listens on port", timeout_s)
            for auth in ("strict", "classic"):
                try:
                    arduino.upload(release(NEW), board_ip=board.ip, password="wrong", auth=auth)
                except WrongPasswordError:
                    continue
                raise AssertionError(f"a wrong password was taken, handshake {auth}")
            assert board.operations == 0, "flash was written"


def _to_the_end(scenario: str, edits: Edits, timeout_s: float) -> Life:
    life = Life(SCENARIOS[scenario], edits=edits, timeout_s=timeout_s)
    life.run_to_the_end(bringing(NEW), None)
    life.must_be_settled(life.scenario.is_good)
    return life


def _install_after(script: str, edits: Edits, timeout_s: float) -> None:
    # Runs *script* before the boot that would install `new`; `old` must run, and nothing be left.
    staged = record_stores("update", edits)[0].stop
    with Life(SCENARIOS["update"], edits=edits, timeout_s=timeout_s) as life:
        life.cut(bringing(NEW), staged)
        assert life.judge().state == "pending", "the image is not staged"
        with life.board((script, *PLAIN_BOOT)) as board:
            runs = board.wait_for(RUNS, timeout_s)[1]
        assert runs == OLD, f"{runs} runs after {script}"
        verdict = life.judge()
        assert (verdict.state, verdict.runs) == ("idle", OLD), f"{verdict.state}, {verdict.runs}"


CHECKS = (
    good_is_confirmed,
    bad_is_taken_back,
    hang_is_reset,
    trial_refuses_an_update,
    damaged_on_arrival_is_refused,
    swapped_image_is_dropped,
    damaged_slot_is_dropped,
    cut_in_a_store_is_harmless,
    cut_in_a_change_of_keys_is_harmless,
    strangers_signature_is_refused,
    wrong_password_is_refused,
)
