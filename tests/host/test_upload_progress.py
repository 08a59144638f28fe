"""The bars that a terminal shows during uploads."""

import re

import pytest
from mpota.cli.progress import Display
from terminal import WIDTH, Terminal

TOTAL = 300_000
BOARD, OTHER = "192.168.178.100", "192.168.178.101"


@pytest.fixture
def terminal():
    return Terminal()


def sent(terminal, done, seconds):
    """Show an upload of `done` bytes so far, which came in ten equal steps in `seconds`."""
    with Display(terminal.console, [BOARD], TOTAL, tell_steps=False) as display:
        shown = display[BOARD]
        shown.step("waiting for the board to connect to TCP port 43210")
        terminal.now += 8  # which is no part of the speed
        shown.step("sending garden 2.0.0")
        for tenth in range(11):
            shown.advance(done * tenth // 10, TOTAL)
            terminal.now += seconds / 10
    return terminal.frame()


def test_the_bar_shows_bytes_speed_and_the_time_left_in_80_columns(terminal):
    frame = sent(terminal, done=150_000, seconds=10)
    found = re.fullmatch(r"sending garden 2\.0\.0 (\S+) (.*)", frame)
    assert found, frame
    assert found[2] == "150.0/300.0 kB 15.0 kB/s 0:00:10"
    assert set(found[1]) <= set("━╸╺") and len(found[1]) >= 10
    assert len(frame) <= WIDTH


def test_a_bar_of_a_finished_upload_is_full(terminal):
    frame = sent(terminal, done=TOTAL, seconds=20)
    assert "300.0/300.0 kB" in frame and frame.endswith(" 0:00:00")
    assert "╸" not in frame and "╺" not in frame


def test_before_the_first_byte_neither_speed_nor_time_is_made_up(terminal):
    with Display(terminal.console, [BOARD], TOTAL, tell_steps=False) as display:
        terminal.now += 8
        display[BOARD].step("authenticating")
    assert re.fullmatch(r"authenticating ━+ 0\.0/300\.0 kB \? -:--:--", terminal.frame())


def test_a_board_that_tries_what_it_has_shows_no_figures(terminal):
    with Display(terminal.console, [BOARD], TOTAL, tell_steps=False) as display:
        display[BOARD].advance(TOTAL, TOTAL)
        display[BOARD].wait("on trial", "for 540 s at most")
    assert re.fullmatch(r"on trial for 540 s at most [━╸╺]+", terminal.frame())


def test_how_it_ended_stays_to_be_seen(terminal):
    with Display(terminal.console, [BOARD], TOTAL, tell_steps=False) as display:
        display[BOARD].advance(TOTAL, TOTAL)
        display[BOARD].wait("on trial", "for 540 s at most")
        display[BOARD].end("confirmed")
    assert re.fullmatch(r"confirmed ━+", terminal.frame())


def test_several_boards_have_a_bar_each_in_80_columns(terminal):
    with Display(terminal.console, [BOARD, OTHER], TOTAL, tell_steps=False) as display:
        display[BOARD].step("waiting for the board to connect to TCP port 43210")
        display[OTHER].step("sending garden 2.0.0")
        for done in (0, 150_000):
            display[OTHER].advance(done, TOTAL)
            terminal.now += 10
        display[OTHER].say("handshake: SHA-256, password proven")
    shown = terminal.frames(2)
    assert re.fullmatch(BOARD + r": waiting for the [^…]*… [━╸╺ ]+0\.0/300\.0 kB .*", shown[0])
    assert re.fullmatch(OTHER + r": sending garden 2\.0\.0 +[━╸╺ ]+150\.0/300\.0 kB .*", shown[1])
    assert all(len(line) <= WIDTH for line in shown)
    assert f"{OTHER}: handshake: SHA-256, password proven\n" in terminal.text


def test_nothing_is_shown_of_a_board_that_was_given_up(terminal):
    with Display(terminal.console, [BOARD], TOTAL, tell_steps=True) as display:
        pass
    before = terminal.text
    display[BOARD].step("sending garden 2.0.0")
    display[BOARD].advance(TOTAL, TOTAL)
    assert terminal.text == before
