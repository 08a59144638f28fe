"""Updates of a board that is there: taken, refused, taken back, and broken off."""

import socket

import pytest
from mpota import arduino
from mpota.arduino.outcomes import UploadError


def updated(board, image, **options):
    """See *image*, the release of the board's number, taken, tried and confirmed."""
    start = len(board.said)
    board.upload(image, **options)
    board.wait_for("on trial", start)
    board.wait_for(f"app {board.sequence} runs", start)
    board.wait_for("is confirmed", start)


def test_a_release_is_taken_tried_and_confirmed(board):
    updated(board, board.next_image())


def test_a_release_is_taken_with_arduino_s_own_handshake(board):
    updated(board, board.next_image(), auth="classic")


def test_a_wrong_password_is_refused_and_the_board_goes_on(board):
    with pytest.raises(UploadError):
        board.upload(board.next_image(), password="wrong")
    updated(board, board.next_image())


def test_a_damaged_image_is_refused_and_the_board_goes_on(board):
    image = bytearray(board.next_image())
    image[len(image) // 2] ^= 1
    with pytest.raises(UploadError):
        board.upload(bytes(image))
    updated(board, board.next_image())


def test_a_release_that_raises_is_taken_back(board):
    running = board.sequence
    start = len(board.said)
    board.upload(board.next_image("def main(ota):\n    raise ValueError('app {version} fails')\n"))
    board.wait_for("ValueError", start)
    board.wait_for(f"app {running} runs", start)
    updated(board, board.next_image())


def test_an_upload_that_breaks_off_leaves_the_board_as_it_was(board):
    start = len(board.said)

    def leave(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.upload(board.next_image(filler_bytes=30000), progress=leave)
    board.wait_for(r"\] E: arduino", start)
    updated(board, board.next_image())


def test_a_reset_leads_back_to_the_release_that_runs(board):
    start = len(board.said)
    try:
        board.reset()
    except OSError:
        pytest.skip("the adapter has no RTS")
    board.wait_for("app .* runs", start)
    board.wait_for("listens on port", start)


def test_strange_datagrams_do_not_disturb_the_board(board):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for datagram in (b"", b"\xff" * 300, b"0 1 2 3\n", b"200 a b\n", b"0 99999 1 " + b"0" * 32):
            stranger.sendto(datagram, (board.address, arduino.BOARD_PORT))
    updated(board, board.next_image())
