"""The password in ArduinoOTA's classic handshake, against a scripted board."""

import json
from functools import partial
from pathlib import Path

import pytest
import scripted_board
from mpota.arduino import outcomes
from mpota.arduino.handshake import classic_response
from scripted_board import IMAGE, NONCE, ScriptedBoard, guarded

VECTORS = Path(__file__).parent.parent / "vectors"
send = partial(scripted_board.send, auth="classic")
failure = partial(scripted_board.failure, auth="classic")


def test_the_right_password_is_taken():
    with ScriptedBoard(guarded("größer ☂")) as board:
        send(board, password="größer ☂")
    assert board.image == IMAGE


@pytest.mark.parametrize(
    "vector", json.loads((VECTORS / "handshake_classic.json").read_text("utf-8"))
)
def test_responses_are_those_of_the_vectors(vector):
    assert vector["response"] == classic_response(
        vector["password"], vector["nonce"], vector["cnonce"]
    )


def test_each_upload_has_a_cnonce_of_its_own():
    seen = set()

    def script(board):
        board.invited()
        board.say(f"AUTH {NONCE}")
        seen.add(board.response()[0])
        board.say("Authentication Failed")

    for _ in range(3):
        failure(script, outcomes.WrongPasswordError, password="x")
    assert len(seen) == 3


def test_a_wrong_password_is_told():
    assert "password" in failure(guarded("a"), outcomes.WrongPasswordError, password="b")


def test_a_missing_password_is_told_and_how_to_give_it():
    def script(board):
        board.invited()
        board.say(f"AUTH {NONCE}")

    assert "MPOTA_PASSWORD" in failure(script, outcomes.PasswordNeededError)


def test_another_kind_of_authentication_is_told():
    def script(board):
        board.invited()
        board.say("AUTH " + 2 * NONCE)

    assert "another kind" in failure(script, outcomes.UnexpectedReplyError, password="x")


def test_silence_after_the_password_is_told(impatient):
    def script(board):
        board.invited()
        board.authenticated("x")

    assert "fell silent" in failure(script, outcomes.NoAnswerError, password="x")


def test_of_two_nonces_the_last_is_answered(quick_resends):
    def script(board):
        board.invited()
        board.invited()  # both were under way before the board came to answer
        board.say(f"AUTH {NONCE}")
        assert board.authenticated("x", nonce=NONCE[::-1])
        board.say("OK")
        board.tcp = board.dial()
        board.take_all()

    with ScriptedBoard(script) as board:
        send(board, password="x")


def test_a_board_that_asks_for_ever_is_left():
    def script(board):
        board.invited()
        for _ in range(4):
            board.say(f"AUTH {NONCE}")
            board.response()
        board.say(f"AUTH {NONCE}")

    assert "again and again" in failure(script, outcomes.NoAnswerError, password="x")
