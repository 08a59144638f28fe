"""An upload by ArduinoOTA, against a scripted board on 127.0.0.2."""

import socket

import pytest
from mpota import arduino
from mpota.arduino import outcomes
from mpota.arduino.transfer import CHUNK
from mpota.errors import CommandError
from scripted_board import (
    BOARD_IP,
    IMAGE,
    ScriptedBoard,
    guarded,
    send,
    well_behaved,
)


def test_the_board_gets_exactly_the_image():
    with ScriptedBoard(well_behaved) as board:
        send(board)
    assert board.image == IMAGE
    assert [i.command for i in board.invitations] == [arduino.FLASH]


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_an_image_of_any_size_arrives(size):
    with ScriptedBoard(well_behaved) as board:
        send(board, IMAGE[:size])
    assert board.image == IMAGE[:size]


def test_data_images_are_announced_as_such():
    with ScriptedBoard(well_behaved) as board:
        send(board, command=arduino.FILE_SYSTEM)
    assert board.invitations[0].command == 100


def test_progress_tells_acknowledged_bytes_up_to_the_last():
    seen = []
    with ScriptedBoard(well_behaved) as board:
        send(board, progress=lambda done, total: seen.append((done, total)))
    sizes = [CHUNK, 2 * CHUNK, 3 * CHUNK, len(IMAGE)]
    assert seen == [(done, len(IMAGE)) for done in sizes]


def test_progress_waits_for_the_boards_count():
    seen = []

    def script(board):
        board.accept()
        board.take(CHUNK)
        assert seen == []
        board.tcp.sendall(b"1460")
        board.take(CHUNK)
        assert seen == [CHUNK]
        board.tcp.sendall(b"1460")
        board.take_all()

    with ScriptedBoard(script) as board:
        send(board, progress=lambda done, total: seen.append(done))


def test_each_step_is_told():
    steps = []
    with ScriptedBoard(guarded("geheim")) as board:
        send(board, password="geheim", name="garden 2", state=steps.append)
    words = [step.split()[0] for step in steps]
    # A board may connect before its OK is read: then there is no wait to tell of.
    assert words[:2] + words[-2:] == ["inviting", "authenticating", "sending", "waiting"]
    assert "garden 2" in steps[-2]


def test_a_host_name_is_resolved():
    with ScriptedBoard(well_behaved, ip="127.0.0.1") as board:
        send(board, board_ip="localhost")
    assert board.image == IMAGE


def test_the_board_dials_the_port_and_the_address_that_were_given():
    with socket.create_server(("127.0.0.5", 0)) as free:
        port = free.getsockname()[1]
    with ScriptedBoard(well_behaved) as board:
        send(board, host_ip="127.0.0.5", host_port=port)
    assert board.invitations[0].port == port
    assert board.invitations[0].sender[0] == "127.0.0.5"


def test_two_uploads_can_use_the_same_host_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for _ in range(2):
        with ScriptedBoard(well_behaved) as board:
            send(board, host_port=port)


def test_an_unreachable_address_is_told():
    with pytest.raises(outcomes.NoAnswerError, match="cannot reach"):
        arduino.upload(IMAGE, board_ip="255.255.255.255")


@pytest.mark.parametrize("host", ["no-such-board.invalid", "", "..", "a" * 70, "127.0.0.1.2.3"])
def test_an_unknown_host_is_told(host):
    with pytest.raises(outcomes.UnknownHostError, match="no address"):
        arduino.upload(IMAGE, board_ip=host)


def test_a_host_port_in_use_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(outcomes.HostPortError, match=f"TCP port {port} .* -P"):
            arduino.upload(IMAGE, board_ip=BOARD_IP, host_ip="127.0.0.1", host_port=port)


def test_an_empty_image_is_not_sent():
    with pytest.raises(CommandError, match="x.img is empty"):
        arduino.upload(b"", board_ip=BOARD_IP, name="x.img")
