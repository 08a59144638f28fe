"""When the classic handshake may be used instead of the SHA-256 one, against a scripted board."""

import pytest
from mpota.arduino import outcomes
from mpota.arduino.handshake import Handshake
from mpota.arduino.invitation import Invitation
from scripted_board import (
    DENIED,
    NONCE,
    STRONG_NONCE,
    classic,
    failure,
    guarded,
    sketch,
    transferred,
)

# A board that knows only the classic handshake


def test_strict_never_sends_a_classic_invitation_and_says_how_to_allow_it(impatient):
    seen = []

    def script(board):
        while invitation := board.invited(within_s=1):
            seen.append(invitation.sha256)

    line = failure(script, outcomes.NoAnswerError, password="x")
    assert "speaks only the classic MD5 handshake: --classic allows it" in line
    assert len(seen) > 3 and None not in seen


def test_auto_falls_back_after_silence_and_says_so(quick_fallback):
    board, agreed, steps = transferred(classic, auth="auto")
    assert board.invitations[0].sha256 and not board.invitations[-1].sha256
    assert agreed == [Handshake(strong=False, password_proven=False)]
    assert "no answer to the SHA-256 handshake: trying the classic one" in steps


def test_auto_proves_the_password_in_the_classic_way(quick_fallback):
    assert transferred(sketch("x"), password="x", auth="auto")[1] == [Handshake(False, True)]


def test_a_sketch_with_a_password_costs_three_seconds_and_no_more():
    # The sketch does not answer the SHA-256 handshake, once before the classic one and once after
    # it.
    assert 2 * Invitation.strong_answer_s <= 3


def test_a_board_that_missed_the_first_invitation_is_asked_again_before_a_password(quick_fallback):
    def script(board):
        assert board.invited().sha256  # lost
        board.invited_classically()
        board.say(f"AUTH {NONCE}")
        while not board.invited().sha256:
            pass
        board.say(f"AUTH2 {STRONG_NONCE}")
        while not board.invited().sha256:
            pass
        assert board.authenticated("x", nonce=STRONG_NONCE[::-1])
        board.finish()

    _, agreed, steps = transferred(script, password="x", auth="auto")
    assert agreed == [Handshake(strong=True, password_proven=True)]
    assert "making sure that the board does not know the SHA-256 handshake" in steps


def test_a_board_that_answers_now_and_then_gets_no_password_in_the_classic_way(quick_fallback):
    # As a board that pauses, since a stranger has guessed wrong passwords.
    def script(board):
        board.invited_classically()
        board.say(f"AUTH {NONCE}")
        while board.hears_an_invitation(within_s=1):
            pass

    line = failure(script, outcomes.DowngradeError, password="x", auth="auto")
    assert "no password was sent: try again" in line


def test_classic_sends_only_classic_invitations():
    board, agreed, steps = transferred(guarded("x"), password="x", auth="classic")
    assert [i.sha256 for i in board.invitations] == [None]
    assert agreed == [Handshake(strong=False, password_proven=True)]
    assert not any("SHA-256" in step for step in steps)


@pytest.mark.parametrize("auth", ["auto", "classic"])
def test_without_any_answer_the_line_offers_no_classic_handshake(impatient, auth):
    line = failure(lambda board: None, outcomes.NoAnswerError, auth=auth)
    assert "firewall" in line and "--classic" not in line


def test_a_board_that_wants_the_strong_handshake_is_told():
    def script(board):
        board.invited()
        board.say(DENIED + "\n")

    line = failure(script, outcomes.StrongOnlyError, password="x", auth="classic")
    assert "upload without --classic" in line


# Downgrades


def test_strict_does_not_answer_a_classic_challenge():
    def script(board):
        board.invited()
        board.say(f"AUTH {NONCE}")
        assert not board.invited_again(within_s=0.4)

    line = failure(script, outcomes.DowngradeError, password="x")
    assert "--classic allows it" in line


@pytest.mark.parametrize("auth", ["strict", "auto"])
def test_after_a_strong_challenge_a_classic_one_is_not_answered(auth):
    def script(board):
        board.invited()
        board.say(f"AUTH2 {STRONG_NONCE}")
        board.response()
        board.say(f"AUTH {NONCE}")
        assert not board.invited_again(within_s=0.4)

    line = failure(script, outcomes.DowngradeError, password="x", auth=auth)
    assert "attacker" in line


def test_after_a_strong_challenge_silence_is_no_reason_to_fall_back(impatient):
    def script(board):
        board.invited()
        assert board.authenticated("x")
        while invited := board.invited(within_s=1):
            assert invited.sha256

    failure(script, outcomes.NoAnswerError, password="x", auth="auto")


@pytest.mark.parametrize("auth", ["strict", "auto"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 0, 1)])
def test_of_both_challenges_at_once_the_strong_one_is_answered(auth, order, quick_resends):
    def script(board):
        board.invited()
        board.invited()
        challenges = [f"AUTH2 {STRONG_NONCE}", f"AUTH {NONCE}"]
        for index in order:
            board.say(challenges[index])
        board.response()  # of 64 digits
        board.finish()

    assert transferred(script, password="x", auth=auth)[1] == [Handshake(True, True)]


def test_an_early_classic_challenge_does_not_win_over_the_boards_own(monkeypatch):
    monkeypatch.setattr(Invitation, "settle_s", 1)

    def script(board):
        board.invited()
        board.say(f"AUTH {NONCE}")
        assert board.authenticated("x")
        board.finish()

    assert transferred(script, password="x", auth="auto")[1] == [Handshake(True, True)]


@pytest.mark.parametrize("answer", [f"AUTH2 {STRONG_NONCE}", DENIED])
def test_a_board_that_answers_late_is_invited_in_the_strong_way_again(quick_fallback, answer):
    def script(board):
        board.invited_classically()
        board.say(answer)
        while not board.invited().sha256:  # resent before the answer arrived
            pass
        assert board.authenticated("x", nonce=STRONG_NONCE[::-1])
        board.finish()

    _, agreed, steps = transferred(script, password="x", auth="auto")
    assert agreed == [Handshake(strong=True, password_proven=True)]
    assert "the board does know the SHA-256 handshake: using it" in steps
