"""The proof of the password in both handshakes, against a scripted board."""

import pytest
import scripted_board
from mpota.arduino import outcomes
from scripted_board import IMAGE, NONCE, STRONG_NONCE, ScriptedBoard, guarded

# For each handshake: how a host allows it, and the challenge of a board without its nonce.
HANDSHAKES = {"classic": ("classic", "AUTH", NONCE), "SHA-256": ("strict", "AUTH2", STRONG_NONCE)}


class Handshake:
    """One of the two handshakes: its challenges, and uploads with it."""

    def __init__(self, name):
        self._auth, self._word, self.nonce = HANDSHAKES[name]

    def challenge(self, nonce=None):
        """Return the datagram with which a board asks for the password."""
        return f"{self._word} {nonce or self.nonce}"

    def send(self, board, **options):
        """Upload to a board."""
        scripted_board.send(board, auth=self._auth, **options)

    def failure(self, script, kind, **options):
        """Upload to a board that fails; return the error's one line."""
        return scripted_board.failure(script, kind, auth=self._auth, **options)


@pytest.fixture(params=HANDSHAKES)
def handshake(request):
    """Return each of the two handshakes."""
    return Handshake(request.param)


def test_the_right_password_is_taken(handshake):
    with ScriptedBoard(guarded("größer ☂")) as board:
        handshake.send(board, password="größer ☂")
    assert board.image == IMAGE


def test_a_wrong_password_is_told(handshake):
    line = handshake.failure(guarded("a"), outcomes.WrongPasswordError, password="b")
    assert "password" in line


def test_a_missing_password_is_told_and_how_to_give_it(handshake):
    def script(board):
        board.invited()
        board.say(handshake.challenge())
        assert not board.invited_again(within_s=0.2)

    assert "MPOTA_PASSWORD" in handshake.failure(script, outcomes.PasswordNeededError)


def test_each_upload_has_a_cnonce_of_its_own(handshake):
    seen = set()

    def script(board):
        board.invited()
        board.say(handshake.challenge())
        seen.add(board.response()[0])
        board.say("Authentication Failed")

    for _ in range(3):
        handshake.failure(script, outcomes.WrongPasswordError, password="x")
    assert len(seen) == 3


def test_silence_after_the_password_is_told(handshake, impatient):
    def script(board):
        board.invited()
        board.authenticated("x")

    line = handshake.failure(script, outcomes.NoAnswerError, password="x")
    assert "fell silent: if it has restarted for the update, it was not back in 0.8 s" in line


def test_of_two_nonces_the_last_is_answered(handshake, quick_resends):
    def script(board):
        board.invited()
        board.invited()  # both were under way before the board could answer
        board.say(handshake.challenge(handshake.nonce[::-1]))
        assert board.authenticated("x")
        board.finish()

    with ScriptedBoard(script) as board:
        handshake.send(board, password="x")


def test_a_board_that_asks_for_ever_is_left(handshake):
    def script(board):
        board.invited()
        for _ in range(4):
            board.say(handshake.challenge())
            board.response()
        board.say(handshake.challenge())

    line = handshake.failure(script, outcomes.NoAnswerError, password="x")
    assert "again and again" in line
