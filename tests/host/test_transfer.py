"""The transfer by TCP, against a scripted board."""

import contextlib
import socket

import pytest
from mpota.arduino import outcomes
from mpota.arduino.transfer import CHUNK, Transfer
from scripted_board import (
    IMAGE,
    ScriptedBoard,
    failure,
    send,
)


@pytest.mark.parametrize("pieces", [[b"14", b"60"], [b"5369", b"24"], [b"1000460"], [b"1460\r\n"]])
def test_counts_may_come_in_pieces_and_merged(pieces):
    def script(board):
        board.accept()
        board.take(CHUNK)
        for piece in pieces:
            board.tcp.sendall(piece)
        board.take_all()

    with ScriptedBoard(script) as board:
        send(board)
    assert board.image == IMAGE


def test_a_result_may_come_merged_with_the_last_count():
    def script(board):
        board.accept()
        board.take(CHUNK)
        board.tcp.sendall(b"1460OK")

    with ScriptedBoard(script) as board:
        send(board, IMAGE[:CHUNK])


def test_a_result_may_come_without_the_last_count_and_in_pieces():
    def script(board):
        board.accept()
        board.take(CHUNK)
        board.tcp.sendall(b"O")
        board.tcp.sendall(b"K")

    with ScriptedBoard(script) as board:
        send(board, IMAGE[:CHUNK])


@pytest.mark.parametrize("count", [b"1024", b"99999", b"0"])
def test_a_board_that_counts_in_its_own_way_gets_the_rest(count, monkeypatch):
    monkeypatch.setattr(Transfer, "quiet_s", 0.05)

    def script(board):
        board.accept()
        while len(board.image) < len(IMAGE):
            board.take(min(CHUNK, len(IMAGE) - len(board.image)))
            board.tcp.sendall(count)
        board.tcp.sendall(b"OK")

    with ScriptedBoard(script) as board:
        send(board)
    assert board.image == IMAGE


def test_an_error_at_the_end_is_told():
    def script(board):
        board.accept()
        board.take_all(b"ERROR[7]: MD5 verification failed: expected: X, calculated: Y\n")

    line = failure(script, outcomes.RefusedError)
    assert "did not arrive as it was sent" in line and "calculated: Y" in line


def test_an_error_in_pieces_is_told_whole():
    def script(board):
        board.accept()
        board.take(CHUNK)
        for piece in (b"1460", b"E", b"RROR[3", b"4]: Trial running"):
            board.tcp.sendall(piece)
        board.tcp.close()

    assert "Trial running" in failure(script, outcomes.RefusedError)


def test_an_error_before_a_reset_is_not_lost():
    def script(board):
        board.accept()
        board.take(CHUNK)
        board.tcp.sendall(b"1460ERROR[1]: Flash Write Failed\n")
        board.tcp.close()  # with a chunk unread, perhaps: an RST

    assert "could not write" in failure(script, outcomes.RefusedError, data=IMAGE * 10)


def test_an_error_is_read_even_when_sending_broke():
    board_side, host_side = socket.socketpair()
    with board_side, host_side:
        transfer = Transfer(
            _Tcp(host_side), len(IMAGE), lambda *_: None, lambda _: None, lambda: None
        )
        board_side.sendall(b"ERROR[6]: Stream Read Timeout\n")
        board_side.close()
        with pytest.raises(outcomes.RefusedError, match="too long"):
            transfer.run(IMAGE)


class _Tcp:
    """A socket pair's end that takes TCP's options."""

    def __init__(self, end):
        self._end = end

    def setsockopt(self, *_):
        pass

    def __getattr__(self, name):
        return getattr(self._end, name)


def test_a_close_in_the_middle_is_told_with_how_far_it_got():
    def script(board):
        board.accept()
        board.take(CHUNK)
        board.tcp.sendall(b"1460")
        board.take(CHUNK)
        board.tcp.close()

    line = failure(script, outcomes.ConnectionLostError)
    assert f"after 1460 of {len(IMAGE)} bytes" in line
    assert "keeps the version that it runs" in line and "try again" in line


def test_a_reset_in_the_middle_is_told():
    def script(board):
        board.accept()
        board.take(CHUNK)
        board.reset()

    assert "after 0 of" in failure(script, outcomes.ConnectionLostError)


def test_a_stall_in_the_middle_is_told(impatient):
    def script(board):
        board.accept()
        board.take(CHUNK)
        board.closed()

    assert "fell silent for 0.3 s" in failure(script, outcomes.ConnectionLostError)


def dribble(board, said):
    """Say `said` again and again, until the host closes the connection."""
    board.tcp.settimeout(0.05)
    for _ in range(100):
        with contextlib.suppress(ConnectionError):
            board.tcp.sendall(said)
        try:
            if not board.tcp.recv(CHUNK):
                return
        except TimeoutError:
            pass
        except ConnectionResetError:
            return
    pytest.fail("the host goes on waiting")


@pytest.mark.parametrize("said", [b" ", b"\n"])
def test_blanks_in_place_of_a_count_are_not_waited_for_for_ever(impatient, said):
    def script(board):
        board.accept()
        board.take(CHUNK)
        dribble(board, said)

    line = failure(script, outcomes.ConnectionLostError)
    assert "acknowledged nothing for 0.3 s, though it sent bytes" in line


def test_an_error_that_never_ends_is_told_in_time(impatient):
    def script(board):
        board.accept()
        board.take(CHUNK)
        board.tcp.sendall(b"ERROR[4]: ")
        dribble(board, b"x")

    assert "larger than a slot" in failure(script, outcomes.RefusedError)


def test_no_result_after_the_last_byte_is_told(impatient):
    def script(board):
        board.accept()
        board.take_all(result=b"")
        board.closed()

    assert f"acknowledged all {len(IMAGE)} bytes" in failure(script, outcomes.NoResultError)


def test_counts_without_end_are_not_waited_for(impatient):
    def script(board):
        board.accept()
        board.take_all(result=b"")
        with contextlib.suppress(ConnectionError):
            while True:
                board.tcp.sendall(b"1")

    assert "did not say" in failure(script, outcomes.NoResultError)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_close_in_place_of_the_result_is_no_success(end):
    def script(board):
        board.accept()
        board.take_all(result=b"")
        board.tcp.close() if end == "close" else board.reset()

    assert "did not say" in failure(script, outcomes.NoResultError)


def test_silence_about_the_last_chunk_is_not_called_a_failure(impatient):
    def script(board):
        board.accept()
        board.take(CHUNK)
        board.closed()

    line = failure(script, outcomes.NoResultError, data=IMAGE[:CHUNK])
    assert "acknowledged 0 of 1460 bytes" in line


def test_a_slow_result_is_waited_for(monkeypatch):
    monkeypatch.setattr(Transfer, "count_s", 0.05)

    def script(board):
        board.accept()
        board.take(CHUNK)
        with pytest.raises(TimeoutError):  # verifying takes longer than a count
            board.tcp.settimeout(0.2)
            board.tcp.recv(1)
        board.tcp.sendall(b"1460OK")

    with ScriptedBoard(script) as board:
        send(board, IMAGE[:CHUNK])


@pytest.mark.parametrize("said", [b"OK", b"1460OK", b"hello", b"1460\xff"])
def test_anything_else_in_the_middle_is_no_success(said):
    def script(board):
        board.accept()
        board.take(CHUNK)
        board.tcp.sendall(said)
        board.closed()

    assert "not in the protocol" in failure(script, outcomes.UnexpectedReplyError)
