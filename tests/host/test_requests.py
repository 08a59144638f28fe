"""Asking a board for its status, and to confirm, reject or revert, against a scripted board."""

import contextlib
import hashlib
import json
import random
from pathlib import Path

import pytest
from mpota.arduino import outcomes
from mpota.arduino.handshake import request_response
from mpota.arduino.status import Status, ask_status, request
from openssl_command import openssl
from scripted_board import OTHER_NONCE, STRONG_NONCE, ScriptedBoard, status

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "requests.json").read_text("utf-8")
)
ANSWER = status(name="garden", uptime=75)


def asked(script, command="status", password="", patience_s=10.0):
    """Ask a scripted board; return its answer."""
    with ScriptedBoard(script) as board:
        return request(command, board.ip, board.port, password, patience_s)


def failure(script, kind, **options):
    """Ask a scripted board, which leads to an error; return its one line."""
    with pytest.raises(kind) as caught:
        asked(script, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def guarded(password, answer=ANSWER):
    """Make the script of a board with a password."""

    def script(board):
        board.asked()
        board.reply(answer if board.proven(password) else "Authentication Failed")

    return script


@pytest.fixture
def quick(monkeypatch):
    """Let a lost datagram be sent again, and be missed, after milliseconds."""
    monkeypatch.setattr("mpota.arduino.status._Request.resend_s", 0.1)
    monkeypatch.setattr("mpota.arduino.status._Request.busy_s", 0.5)
    monkeypatch.setattr("mpota.arduino.status._Request.proof_s", 0.3)


# The answer


def test_a_status_has_all_that_the_board_tells():
    assert Status.parse(ANSWER) == Status(
        name="garden",
        version="1.4.0",
        sequence=17,
        slot="b",
        state="healthy",
        trial_left_s=None,
        free_heap_bytes=12345,
        firmware="1.28.0",
        uptime_s=75,
        address="127.0.0.2",
        outcome="confirmed: 17",
    )


def test_a_status_tells_how_the_last_question_to_a_server_ended():
    told = Status.parse(ANSWER.replace("\noutcome", "\npull 40 s ago: no update\noutcome"))
    assert (told.last_check, told.outcome) == ("40 s ago: no update", "confirmed: 17")


def test_a_status_tells_how_long_a_trial_may_last():
    told = Status.parse(status(state="trial 540"))
    assert (told.state, told.trial_left_s) == ("trial", 540)


def test_a_board_without_an_application_has_no_slot():
    told = Status.parse(status(name=None, version=None, sequence=None, slot="-", state="services"))
    assert (told.name, told.sequence, told.slot) == ("", 0, "")


def test_the_outcome_is_the_rest_whatever_is_in_it():
    told = Status.parse(status(outcome="taken back: 18: a\nslot a\x1b[1m\nstate idle"))
    assert told.outcome == "taken back: 18: a slot a [1m state idle"
    assert (told.slot, told.state) == ("b", "healthy")


@pytest.mark.parametrize("outcome", ["", None])
def test_there_may_be_no_outcome(outcome):
    assert Status.parse(status(outcome=outcome).strip()).outcome == ""


@pytest.mark.parametrize(("length", "shown"), [(47, "x" * 47), (48, "x" * 48 + "…")])
def test_an_outcome_that_fills_its_place_was_cut_off(length, shown):
    assert Status.parse(status(outcome="x" * length)).outcome == shown


def test_later_boards_may_tell_more():
    assert Status.parse("rssi -60\n" + ANSWER) == Status.parse(ANSWER)


@pytest.mark.parametrize(
    "answer", ["OK", status(heap=None), status(uptime="x"), status(state="trial"), "\0" * 256]
)
def test_what_is_no_status_is_told(answer):
    with pytest.raises(outcomes.UnexpectedReplyError) as caught:
        Status.parse(answer)
    assert "\0" not in str(caught.value)


def test_damaged_answers_are_a_status_or_told():
    rng = random.Random(10)
    for _ in range(2000):
        answer = bytearray(ANSWER.encode())
        for _ in range(rng.randint(1, 4)):
            answer[rng.randrange(len(answer))] = rng.choice([*b" \n-0", rng.randrange(256)])
        del answer[rng.randint(1, 4 * len(answer)) :]
        with contextlib.suppress(outcomes.UnexpectedReplyError):
            Status.parse(answer.decode("utf-8", "replace"))


# The talk


@pytest.mark.parametrize("vector", VECTORS)
def test_responses_are_those_of_the_vectors(vector):
    expected = vector.pop("response")
    assert request_response(**vector) == expected
    vector["response"] = expected


@pytest.mark.parametrize("vector", VECTORS)
def test_the_vectors_are_what_openssl_computes(vector):
    message = ":".join(vector[name] for name in ("nonce", "cnonce", "command"))
    key = hashlib.sha256(vector["password"].encode()).hexdigest()
    hmac = ("dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}")
    assert openssl(*hmac, stdin=message.encode()).decode().split()[-1] == vector["response"]


def test_an_open_board_is_asked_once():
    def script(board):
        board.tell(uptime=75)
        assert board.asked(within_s=0.2) is None

    assert asked(script, password="geheim") == ANSWER


@pytest.mark.parametrize("password", ["geheim", "größer ☂", " ", ":"])
def test_the_password_is_proven(password):
    assert asked(guarded(password), password=password) == ANSWER


def test_a_request_that_got_lost_is_sent_again(quick):
    def script(board):
        board.asked()
        board.tell(uptime=75)

    assert asked(script) == ANSWER


def test_a_question_that_comes_twice_is_answered_once(quick):
    def script(board):
        board.asked()
        board.asked()  # the host has asked again
        board.reply(f"AUTH2 {STRONG_NONCE}")
        assert board.proven("x")
        board.reply(ANSWER)

    assert asked(script, password="x") == ANSWER


def test_a_proof_that_got_lost_is_sent_again_as_it_was(quick):
    def script(board):
        board.asked()
        board.reply(f"AUTH2 {STRONG_NONCE}")
        proof = board.asked()
        assert len(proof) == 3 and board.asked() == proof
        board.reply("OK")

    assert asked(script, command="confirm", password="x") == "OK"


def test_a_status_whose_answer_got_lost_is_asked_for_anew(quick):
    def script(board):
        board.asked()
        assert board.proven("x")  # and the answer gets lost
        while len(board.asked()) != 1:
            pass
        assert board.proven("x", OTHER_NONCE)
        board.reply(ANSWER)

    assert asked(script, password="x") == ANSWER


@pytest.mark.parametrize("command", ["confirm", "reject", "revert"])
def test_a_command_whose_answer_got_lost_is_not_given_anew(quick, command):
    def script(board):
        board.asked()
        assert board.proven("x")
        while words := board.asked(within_s=0.5):
            assert len(words) == 3

    line = failure(script, outcomes.NoAnswerError, command=command, password="x")
    assert "did not say whether it did this: 'mpota status' tells" in line


def test_a_board_that_is_busy_for_a_moment_is_asked_again(quick):
    def script(board):
        board.asked()
        board.reply("ERR: ERROR[15]: Update already running\n")
        board.tell(uptime=75)

    assert asked(script) == ANSWER


def test_a_board_that_takes_an_update_is_told_as_that(quick):
    def script(board):
        while board.asked(within_s=0.5):
            board.reply("ERR: ERROR[15]: Update already running\n")

    assert "takes an update at the moment" in failure(script, outcomes.BusyError)


def test_a_board_that_does_not_answer_is_told(quick):
    def script(board):
        while board.asked(within_s=0.5):
            pass

    line = failure(script, outcomes.NoAnswerError, patience_s=0.5)
    assert "no answer from 127.0.0.2:" in line and "only boards with mpota answer this" in line


def test_a_port_where_nobody_listens_is_no_answer(quick):
    with ScriptedBoard(lambda board: None) as board:
        port = board.port
    with pytest.raises(outcomes.NoAnswerError):
        ask_status(board.ip, port, patience_s=0.5)


def test_a_wrong_password_is_told():
    line = failure(guarded("a"), outcomes.WrongPasswordError, password="b")
    assert "does not take this password" in line


def test_a_missing_password_is_told():
    def script(board):
        board.asked()
        board.reply(f"AUTH2 {STRONG_NONCE}")
        assert board.asked(within_s=0.2) is None

    assert "MPOTA_PASSWORD" in failure(script, outcomes.PasswordNeededError)


def test_another_kind_of_question_is_not_answered():
    def script(board):
        board.asked()
        board.reply("AUTH 0123456789abcdef0123456789abcdef")
        assert board.asked(within_s=0.2) is None

    failure(script, outcomes.UnexpectedReplyError, password="geheim")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ERR: no version is on trial", "no version is on trial on this board"),
        (
            "ERR: this board has no password, or only the MD5 of one: set password_sha256",
            "set one over serial with 'mpota config set password'",
        ),
        ("ERR: not confirmed: see the board's log", "its log tells why"),
        (
            "ERR: ERROR[37]: Image is truncated or damaged: there is no version before this one",
            "no version to go back to",
        ),
        ("ERR: ERROR[3]: Flash\x1b[1m Read Failed", "said 'ERROR[3]: Flash [1m Read Failed'"),
    ],
)
def test_what_the_board_does_not_do_is_told_in_words(said, told):
    line = failure(guarded("x", said), outcomes.RequestRefusedError, command="reject", password="x")
    assert told in line
