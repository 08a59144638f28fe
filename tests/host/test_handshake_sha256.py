"""The SHA-256 handshake, against a scripted board."""

import hashlib
import json
from pathlib import Path

import pytest
from mpota.arduino import outcomes
from mpota.arduino.handshake import Handshake, strong_response
from openssl_command import openssl
from scripted_board import (
    DENIED,
    IMAGE,
    NONCE,
    OTHER_NONCE,
    STRONG_NONCE,
    ScriptedBoard,
    failure,
    guarded,
    send,
    transferred,
    well_behaved,
)

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "handshake_sha256.json").read_text("utf-8")
)
ONE_KB = "rain or shine, " * 68 + "1024"


# The response


@pytest.mark.parametrize("vector", VECTORS)
def test_responses_are_those_of_the_vectors(vector):
    expected = vector.pop("response")
    assert strong_response(**vector) == expected
    vector["response"] = expected


@pytest.mark.parametrize("vector", VECTORS)
def test_the_vectors_are_what_openssl_computes(vector):
    fields = [str(vector[name]) for name in ("nonce", "cnonce", "command", "size", "sha256")]
    key = hashlib.sha256(vector["password"].encode()).hexdigest()
    hmac = ("dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}")
    said = openssl(*hmac, stdin=":".join(fields).encode())
    assert said.decode().split()[-1] == vector["response"]


def test_the_vectors_have_the_passwords_that_matter():
    passwords = [vector["password"] for vector in VECTORS]
    assert any(not password.isascii() for password in passwords) and ONE_KB in passwords


@pytest.mark.parametrize("change", ["nonce", "cnonce", "command", "size", "sha256", "password"])
def test_the_response_depends_on_every_field(change):
    fields = {name: value for name, value in VECTORS[0].items() if name != "response"}
    other = VECTORS[1][change]
    assert strong_response(**fields) != strong_response(**fields | {change: other})


# The talk


def test_the_invitation_has_the_images_digest():
    board, agreed, _ = transferred(well_behaved)
    assert board.invitations[0].sha256 == hashlib.sha256(IMAGE).hexdigest()
    assert board.invitations[0].md5 == hashlib.md5(IMAGE).hexdigest()
    assert agreed == [Handshake(strong=True, password_proven=False)]


@pytest.mark.parametrize("password", ["geheim", "größer ☂", ONE_KB, " ", ":"])
@pytest.mark.parametrize("auth", ["strict", "auto"])
def test_the_right_password_is_taken(password, auth):
    agreed = transferred(guarded(password), password=password, auth=auth)[1]
    assert agreed == [Handshake(strong=True, password_proven=True)]


def test_data_images_are_bound_as_such():
    board = transferred(guarded("x"), password="x", command=100)[0]
    assert board.invitations[0].command == 100


def test_strict_is_the_default():
    assert transferred(well_behaved)[0].invitations[0].sha256


def test_what_is_agreed_is_told_before_the_first_byte():
    order = []
    with ScriptedBoard(guarded("x")) as board:
        send(
            board,
            password="x",
            agreed=lambda handshake: order.append("agreed"),
            progress=lambda done, total: order.append("progress"),
        )
    assert order[0] == "agreed" and order.count("agreed") == 1


@pytest.mark.parametrize(
    "challenge", ["AUTH2", "AUTH2 ", f"AUTH2 {NONCE}", f"AUTH2 {STRONG_NONCE}0", f"AUTH3 {NONCE}"]
)
@pytest.mark.parametrize("auth", ["strict", "auto"])
def test_a_challenge_of_another_kind_is_told_and_not_answered(challenge, auth):
    def script(board):
        board.invited()
        board.say(challenge)
        assert not board.invited_again(within_s=0.4)

    line = failure(script, outcomes.UnexpectedReplyError, password="x", auth=auth)
    assert "another kind" in line


# A board that restarts without its application when the password is proven


def test_a_board_that_comes_back_late_finds_its_host_waiting(impatient):
    def script(board):
        board.invited()
        assert board.authenticated("x")
        board.invited()  # again, and as if there had been no answer yet
        board.say("OK")
        board.tcp = board.dial()
        board.take_all()

    board = transferred(script, password="x")[0]
    first, second = board.invitations
    assert first == second


def test_a_board_that_comes_back_and_dials_at_once_is_taken_as_it_is(impatient):
    def script(board):
        board.invited()
        assert board.authenticated("x")
        board.invited()
        board.tcp = board.dial()
        board.take_all()

    transferred(script, password="x")


def test_a_board_that_lost_the_proof_is_given_another(impatient):
    def script(board):
        board.invited()
        assert board.authenticated("x")
        board.invited()
        assert board.authenticated("x", nonce=OTHER_NONCE)
        board.finish()

    agreed = transferred(script, password="x")[1]
    assert agreed == [Handshake(strong=True, password_proven=True)]


# Lost, late and doubled datagrams


def test_a_lost_invitation_is_sent_again(quick_resends):
    def script(board):
        board.invited()
        guarded("x")(board)

    board = transferred(script, password="x")[0]
    assert board.invitations[0] == board.invitations[1]


def test_a_nonce_that_comes_after_the_response_is_answered_too():
    def script(board):
        board.invited()
        assert board.authenticated("x")
        assert board.authenticated("x", nonce=STRONG_NONCE[::-1])
        board.finish()

    transferred(script, password="x")


def test_a_connection_makes_up_for_a_lost_ok():
    def script(board):
        board.invited()
        assert board.authenticated("x")
        board.tcp = board.dial()
        board.take_all()

    transferred(script, password="x")


@pytest.mark.parametrize("stray", [f"AUTH2 {STRONG_NONCE}", f"AUTH {NONCE}", DENIED, "garbage"])
def test_what_comes_after_the_ok_does_no_harm(stray):
    def script(board):
        board.invited()
        assert board.authenticated("x")
        board.say("OK")
        board.say(stray)
        board.tcp = board.dial()
        board.take_all()

    transferred(script, password="x")
