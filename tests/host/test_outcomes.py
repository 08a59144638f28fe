"""Every refusal of the board becomes a line with cause and remedy."""

import pytest
from mpota.arduino import outcomes
from mpota.arduino.outcomes import OUTCOMES
from scripted_board import (
    ScriptedBoard,
    failure,
    send,
)


def test_a_refusal_comes_with_cause_and_remedy():
    def script(board):
        board.invited()
        board.say(f"ERR: {said}\n")

    said = "ERROR[4]: Not Enough Space: image of 102500 bytes, a slot takes 102144"
    line = failure(script, outcomes.RefusedError)
    assert "larger than a slot" in line and "/data" in line and line.endswith(f"said: {said})")


@pytest.mark.parametrize("code", sorted(OUTCOMES))
def test_every_error_number_has_its_line(code):
    def script(board):
        board.invited()
        board.say(f"ERR: ERROR[{code}]: text\n")

    with ScriptedBoard(script) as board, pytest.raises(outcomes.RefusedError) as caught:
        send(board)
    assert caught.value.code == code
    assert OUTCOMES[code].cause in str(caught.value) and OUTCOMES[code].remedy in str(caught.value)


def test_the_error_numbers_are_those_of_the_protocol():
    assert sorted(OUTCOMES) == [*range(17), *range(32, 40), *range(41, 49)]


def test_a_board_without_a_password_that_it_needs_comes_with_a_remedy():
    def script(board):
        board.invited()
        board.say("ERR: no password is set")

    assert "set one over serial" in failure(script, outcomes.RefusedError)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "ERROR[14]: 6120 of 13200 bytes free",
            "the board has 6120 bytes of heap free, and an update needs 13200: make the "
            "application smaller; or set a password",
        ),
        (
            "ERROR[14]: Out of memory: [Errno 12] ENOMEM",
            "the board has no memory for another connection: let its application close connections",
        ),
        (
            "ERROR[33]: failed transfers, try again in 8 s",
            "the last transfers to this board failed, so it takes none for 8 s: wait that long",
        ),
    ],
)
def test_what_the_board_tells_in_figures_is_told_in_words(said, told):
    def script(board):
        board.invited()
        board.say(f"ERR: {said}\n")

    line = failure(script, outcomes.RefusedError)
    assert line.startswith(told) and line.endswith(f"(the board said: {said})")
    assert "firewall" not in line


def test_a_board_that_has_a_password_is_not_to_get_one():
    def script(board):
        board.invited()
        assert board.authenticated("x")
        board.say("ERR: ERROR[14]: 6120 of 13200 bytes free\n")

    line = failure(script, outcomes.RefusedError, password="x")
    assert "6120 bytes" in line and "set a password" not in line
    assert "'mpota config set restart_for_update=true'" in line


def test_a_refusal_without_a_known_number_is_told_in_the_boards_words():
    def script(board):
        board.invited()
        board.say("ERR: SHA-256 authentication\x1b[1m required")

    line = failure(script, outcomes.RefusedError)
    assert "SHA-256 authentication" in line and "\x1b" not in line


# Of Arduino's numbers, those that a board with mpota never gives (docs/SPEC).
ARDUINOS_OWN = {0, 2, 8, 9, 11}


@pytest.mark.parametrize("code", sorted(OUTCOMES.keys() - ARDUINOS_OWN))
def test_no_advice_names_what_the_board_does_not_take(code):
    assert "firmware" not in " ".join(OUTCOMES[code])
