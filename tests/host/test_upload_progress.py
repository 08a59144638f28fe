"""The bar that a terminal shows during an upload."""

import re

import pytest
from mpota.cli.progress import show_progress
from terminal import WIDTH, Terminal

TOTAL = 300_000


@pytest.fixture
def terminal():
    return Terminal()


def sent(terminal, done, seconds):
    """Show an upload that has come to `done` bytes, a tenth each in a tenth of the time."""
    with show_progress(terminal.console, TOTAL, tell_steps=False) as shown:
        shown.step("waiting for the board to connect to TCP port 43210")
        terminal.now += 8  # which is no part of the speed
        shown.step(f"sending garden 2.0.0, {TOTAL} bytes")
        for tenth in range(11):
            shown.advance(done * tenth // 10, TOTAL)
            terminal.now += seconds / 10
    return terminal.frame()


def test_the_bar_shows_bytes_speed_and_the_time_left_in_80_columns(terminal):
    frame = sent(terminal, done=150_000, seconds=10)
    found = re.fullmatch(r"sending garden 2\.0\.0, 300000 bytes (\S+) (.*)", frame)
    assert found, frame
    assert found[2] == "150.0/300.0 kB 15.0 kB/s 0:00:10"
    assert set(found[1]) <= set("━╸╺") and len(found[1]) >= 10
    assert len(frame) <= WIDTH


def test_a_bar_of_a_finished_upload_is_full(terminal):
    frame = sent(terminal, done=TOTAL, seconds=20)
    assert "300.0/300.0 kB" in frame and frame.endswith(" 0:00:00")
    assert "╸" not in frame and "╺" not in frame


def test_before_the_first_byte_neither_speed_nor_time_is_made_up(terminal):
    with show_progress(terminal.console, TOTAL, tell_steps=False) as shown:
        terminal.now += 8
        shown.step("authenticating")
    assert re.fullmatch(r"authenticating ━+ 0\.0/300\.0 kB \? -:--:--", terminal.frame())
