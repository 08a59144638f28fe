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
    assert sorted(OUTCOMES) == [*range(17), *range(32, 40), *range(41, 45)]


def test_a_board_without_a_password_that_it_needs_comes_with_a_remedy():
    def script(board):
        board.invited()
        board.say("ERR: no password is set")

    assert "set one in its /ota.json over serial" in failure(script, outcomes.RefusedError)


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
    line = " ".join(OUTCOMES[code]).replace("without --spiffs", "")
    assert not [word for word in ("gzip", "firmware", "data image", "--spiffs") if word in line]
