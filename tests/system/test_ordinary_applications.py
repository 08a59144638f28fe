"""Ordinary applications take one update after the other, beside their work."""

import boards
import pytest
from browsing import Browser
from device import Device
from filling import leaving
from mpota import arduino
from raw_host import PASSWORD
from signing import FIRST, SignedDevice, key_file, signed

pytestmark = [pytest.mark.parallel, pytest.mark.campaign]

UPDATES, SAMPLE = 20, 3
ALONE = "boot: the services run alone"
PAGE_PORT = 8080
FILES = {"data.bin": bytes(range(256)) * 100}


def test_the_logger_takes_every_update_while_its_page_is_open(tmp_path, campaign):
    updates = campaign.sample("updates of the logger", range(UPDATES), SAMPLE)
    first = boards.logger_release(1)
    board = boards.board_with(tmp_path, first, heap="64k", confirm_s=1, password=PASSWORD)
    boards.change_files(board.flash, lambda files: files.update({"/ota.keys": key_file(FIRST)}))
    with board, Browser(board.ip, PAGE_PORT) as browser:
        start = 0
        for sequence in range(2, 2 + len(updates)):
            board.wait_for("listens on port", start=start)
            browser.wait_for_pages(10)
            start, pages = len(board.lines), browser.pages
            data = signed(tmp_path, boards.logger_release(sequence))
            arduino.upload(data, board_ip=board.ip, password=PASSWORD)
            board.wait_for("logger: paused", start=start)
            board.wait_for("is confirmed", start=start)
            assert browser.pages > pages
        assert board.violation == ""


# The application leaves free_kb of the chip's 38 KiB of heap for an update that runs beside it.
@pytest.mark.parametrize(
    ("kind", "free_kb", "settings"),
    [(Device, 14, {}), (SignedDevice, 16, {"password": PASSWORD})],
    ids=["open", "signed and with a password"],
)
def test_an_application_that_leaves_enough_takes_every_update_without_a_restart(
    tmp_path, campaign, kind, free_kb, settings
):
    updates = campaign.sample(f"updates beside {free_kb} KB", range(UPDATES), SAMPLE)
    with kind(tmp_path, leaving(boards.chip_kb(free_kb)), **settings) as device:
        start = 0
        for _ in updates:
            device.board.wait_for("^leaves", start=start)
            start = device.said
            device.update(device.next_image(files=FILES))
            assert not [line for line in device.board.lines[start:] if line.startswith(ALONE)]
        assert device.board.violation == ""
