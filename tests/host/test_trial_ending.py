"""Waiting for the end of a trial, against a scripted board that tells its status."""

import time

import pytest
from mpota.arduino.trial import Ending, await_ending
from scripted_board import STRONG_NONCE, ScriptedBoard, status

BEFORE = {"version": "1.3.0", "sequence": 16, "slot": "a", "uptime": 3600}


pytestmark = pytest.mark.usefixtures("quick_polls")


@pytest.fixture
def impatient(monkeypatch):
    """Give up waiting for an answer soon."""
    for name, seconds in (("_PATIENCE_S", 0.2), ("_SILENCE_S", 0.5)):
        monkeypatch.setattr(f"mpota.arduino.trial.{name}", seconds)


def ending(*told, wait_s=10, password=""):
    """Wait for the end of sequence 17 on a board that tells its status so, one after the other.

    Give the ending, and the stages that were passed.
    """
    stages = []

    def script(board):
        for values in told:
            board.asked()
            board.reply(values if isinstance(values, str) else status(**values))
        while wait_s < 10 and board.asked(within_s=1.5):
            board.reply(values if isinstance(values, str) else status(**values))

    with ScriptedBoard(script) as board:
        end = await_ending(
            board.ip,
            board.port,
            password,
            "17",
            wait_s,
            lambda *text: stages.append(" ".join(text)),
        )
    return end, [stage for i, stage in enumerate(stages) if i == 0 or stages[i - 1] != stage]


def test_a_release_that_is_confirmed():
    end, stages = ending({"state": "trial 599"}, {"state": "trial 598"}, {"state": "idle"})
    assert end == Ending("confirmed", runs="garden 1.4.0")
    assert stages == [
        "the board restarts to try it",
        "on trial for 599 s at most",
        "on trial for 598 s at most",
    ]


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ("taken back: 17: raised ImportError", "raised ImportError"),
        ("taken back: 17: its keys are broken: x", "its keys are broken: x"),
        ("failed: the new version is not whole", "the new version is not whole"),
    ],
)
def test_a_release_that_is_taken_back(outcome, why):
    end, _ = ending({"state": "trial 599"}, BEFORE | {"uptime": 0, "outcome": outcome})
    assert end == Ending("taken back", why, "garden 1.3.0")


def test_a_release_that_was_taken_back_before_anybody_asked():
    end, stages = ending(BEFORE | {"uptime": 0, "outcome": "taken back: 17: raised x"})
    assert end.why == "raised x" and len(stages) == 1


def test_the_boot_that_took_the_upload_decides_nothing():
    # The same release as the one that runs, and one that was taken back before.
    for outcome in ("confirmed: 17", "taken back: 17: it hung"):
        end, stages = ending(BEFORE | {"outcome": outcome, "sequence": 17}, {"uptime": 0})
        assert end.verdict == "confirmed"
        assert stages[1] == "the board has not restarted yet, and tries the new version then"


def test_the_outcome_during_a_trial_is_that_of_another():
    end, _ = ending({"state": "trial 9", "outcome": "taken back: 17: it hung"}, {})
    assert end.verdict == "confirmed"


@pytest.mark.parametrize("outcome", ["confirmed: 170", "confirmed: 1", "taken back: 170: x", ""])
def test_the_end_of_another_release_decides_nothing(outcome):
    end, _ = ending({"outcome": outcome, "version": "1.5.0"}, wait_s=0.3)
    assert end.verdict == "undecided"
    assert end.why == f"the board runs garden 1.5.0, its last update: {outcome or 'not known'}"


def test_a_board_without_an_application_leaves_it_open():
    none = {"name": None, "version": None, "sequence": None, "slot": "-", "state": "services"}
    end, _ = ending(none | {"outcome": ""}, wait_s=0.3)
    assert end.why == "the board runs no application, its last update: not known"


def test_the_wait_has_an_end():
    begun = time.monotonic()
    end, _ = ending({"state": "trial 500"}, wait_s=0.5)
    assert 0.5 <= time.monotonic() - begun < 5
    assert end == Ending("undecided", "on trial for 500 s at most")


def test_a_board_that_falls_silent_is_told(impatient):
    def script(board):
        board.tell(state="trial 500")
        while board.asked(within_s=1.5):
            pass

    stages = []
    with ScriptedBoard(script) as board:
        end = await_ending(board.ip, board.port, "", "17", 1.5, lambda *text: stages.append(text))
    assert end.verdict == "undecided" and end.why.startswith("the board does not answer for ")
    assert [stage for stage, _ in stages].count("on trial") >= 2


def test_a_board_that_still_takes_the_update_is_asked_again():
    end, _ = ending("ERR: ERROR[15]: Update already running\n", {"uptime": 0})
    assert end.verdict == "confirmed"


def test_another_password_is_tried_once():
    def script(board):
        board.asked()
        assert not board.proven("another")
        board.reply("Authentication Failed")
        assert board.asked(within_s=0.3) is None

    with ScriptedBoard(script) as board:
        end = await_ending(board.ip, board.port, "x", "17", 10)
    assert end.verdict == "undecided"
    assert end.why.startswith(
        "the board does not tell its status: the board does not take this password"
    )


def test_the_password_is_proven_for_every_answer():
    def script(board):
        for state in ("trial 9", "healthy"):
            board.asked()
            assert board.proven("geheim", STRONG_NONCE)
            board.reply(status(state=state))

    with ScriptedBoard(script) as board:
        assert await_ending(board.ip, board.port, "geheim", "17", 10).verdict == "confirmed"
