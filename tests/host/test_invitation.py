"""The invitation by UDP, against a scripted board."""

import errno
import random
import socket
import threading

import pytest
from mpota import arduino
from mpota.arduino import outcomes
from mpota.arduino.handshake import Announcement
from mpota.arduino.invitation import Invitation
from scripted_board import (
    BOARD_IP,
    IMAGE,
    STRANGER_IP,
    ScriptedBoard,
    failure,
    send,
    well_behaved,
)


def test_a_lost_invitation_is_sent_again(quick_resends):
    def script(board):
        board.invited()
        well_behaved(board)

    with ScriptedBoard(script) as board:
        send(board)
    first, second = board.invitations
    assert first == second


def test_a_late_refusal_of_a_second_invitation_does_no_harm(quick_resends):
    def script(board):
        board.invited()
        board.invited()
        board.say("OK")
        board.say("ERR: ERROR[15]: Update already running\n")
        board.tcp = board.dial()
        board.say("ERR: ERROR[15]: Update already running\n")
        board.take_all()

    with ScriptedBoard(script) as board:
        send(board)
    assert board.image == IMAGE


def test_no_invitation_follows_an_answer(quick_resends):
    answered = threading.Event()

    def script(board):
        board.invited()
        board.say("OK")
        assert answered.wait(5)
        while board.invited_again(within_s=0):  # sent before the answer arrived
            pass
        assert not board.invited_again(within_s=0.2)
        board.tcp = board.dial()
        board.take_all()

    with ScriptedBoard(script) as board:
        send(board, state=lambda step: answered.set() if step.startswith("waiting") else None)


def test_a_connection_makes_up_for_a_lost_answer():
    def script(board):
        board.invited()
        board.tcp = board.dial()
        board.take_all()

    with ScriptedBoard(script) as board:
        send(board)
    assert board.image == IMAGE


def test_no_answer_is_told(impatient):
    def script(board):
        board.invited()

    line = failure(script, outcomes.NoAnswerError)
    assert "firewall" in line and "handle()" in line


def test_a_closed_port_is_told(impatient):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((BOARD_IP, 0))
        port = udp.getsockname()[1]
    with pytest.raises(outcomes.NoAnswerError, match=f"nothing listens on UDP port {port}"):
        arduino.upload(IMAGE, board_ip=BOARD_IP, board_port=port)


class Filtered(socket.socket):
    """A UDP socket that gets the answer "administratively prohibited" from a firewall."""

    def recv(self, *_):
        super().recv(1)
        raise OSError(errno.EHOSTUNREACH, "No route to host")


class LowPort(socket.socket):
    """A listener on a port that only root may have."""

    def getsockname(self):
        return "0.0.0.0", 80


def unanswered(listener=socket.socket, inviter=socket.socket, said=()):
    """Invite what says only `said`; return the error's one line."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as board,
        listener(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        inviter(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        for bound in (board, udp):
            bound.bind((BOARD_IP, 0))
        tcp.listen()
        udp.connect(board.getsockname())
        for datagram in said:
            board.sendto(datagram, udp.getsockname())
        invitation = Invitation(tcp, udp, board.getsockname(), lambda step: None)
        with pytest.raises(outcomes.NoAnswerError) as caught:
            invitation.run(Announcement.of(IMAGE, arduino.FLASH), "", "strict")
    return str(caught.value)


def test_a_firewalls_answer_is_not_taken_for_a_closed_port(impatient):
    line = unanswered(inviter=Filtered, said=[b"x"])
    assert "no firewall blocks" in line and "nothing listens" not in line


def test_a_port_that_boards_do_not_dial_is_told(impatient):
    assert "give -P 1024 or higher" in unanswered(listener=LowPort)
    assert "give -P" not in unanswered()


def test_something_else_at_the_port_is_told():
    def script(board):
        board.invited()
        board.say(b"\xff\x00HTTP/1.0 400")

    assert "is not an ArduinoOTA board" in failure(script, outcomes.UnexpectedReplyError)


def test_a_board_that_never_connects_is_told_with_the_port(impatient):
    def script(board):
        board.invited()
        board.say("OK")

    with ScriptedBoard(script) as board, pytest.raises(outcomes.NoConnectionError) as caught:
        send(board)
    assert f"TCP port {board.invitations[0].port} " in str(caught.value)
    assert "-P" in str(caught.value)


def test_a_stranger_is_turned_away_and_the_board_still_gets_its_image():
    steps = []

    def script(board):
        board.invited()
        board.say("OK")
        with board.dial(source=STRANGER_IP) as stranger:
            assert stranger.recv(1) == b""
        board.tcp = board.dial()
        board.take_all()

    with ScriptedBoard(script) as board:
        send(board, state=steps.append)
    assert board.image == IMAGE
    assert any(STRANGER_IP in step for step in steps)


def test_a_board_that_dials_from_another_address_is_told_from_one_behind_a_firewall(impatient):
    def script(board):
        board.invited()
        board.say("OK")
        with board.dial(source=STRANGER_IP) as stranger:
            assert stranger.recv(1) == b""

    line = failure(script, outcomes.NoConnectionError)
    assert f"{STRANGER_IP} did, and was turned away, since 127.0.0.2 was invited" in line
    assert "(NAT)" in line and "firewall" not in line


def test_datagrams_of_strangers_are_not_heard():
    def script(board):
        sender = board.invited().sender
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((STRANGER_IP, 0))
            stranger.sendto(b"ERR: go away", sender)
        board.say("OK")
        board.tcp = board.dial()
        board.take_all()

    with ScriptedBoard(script) as board:
        send(board)


def test_random_datagrams_end_in_an_upload_error(impatient):
    rng = random.Random(22)
    starts = [b"", b"AUTH", b"AUTH ", b"ERR", b"ERR: ERROR[", b"Authentication Failed", b"OKAY"]

    def script(board):
        board.invited()
        board.say(rng.choice(starts) + rng.randbytes(rng.randrange(1, 40)))

    for _ in range(60):
        failure(script, outcomes.UploadError, password="x")
