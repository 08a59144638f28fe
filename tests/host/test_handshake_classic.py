"""ArduinoOTA's classic handshake: its responses, and a challenge of another kind."""

import json
from pathlib import Path

import pytest
from mpota.arduino import outcomes
from mpota.arduino.handshake import classic_response
from scripted_board import NONCE, failure

VECTORS = Path(__file__).parent.parent / "vectors"


@pytest.mark.parametrize(
    "vector", json.loads((VECTORS / "handshake_classic.json").read_text("utf-8"))
)
def test_responses_are_those_of_the_vectors(vector):
    assert vector["response"] == classic_response(
        vector["password"], vector["nonce"], vector["cnonce"]
    )


def test_another_kind_of_authentication_is_told():
    def script(board):
        board.invited()
        board.say("AUTH " + 2 * NONCE)

    line = failure(script, outcomes.UnexpectedReplyError, password="x", auth="classic")
    assert "another kind" in line
