"""Boards that ask hawkBit, against exchanges written after its schema."""

import pytest
from hawkbit import Asking, HawkBit
from web_site import WebSite

RAISING_APP = """
def main(ota):
    print("app {version} runs")
    raise ValueError("of no use")
"""


@pytest.fixture
def server():
    with WebSite() as site:
        server = HawkBit(site, "valve-7")
        yield server
        assert not server.mistakes


def test_a_release_is_installed_confirmed_and_reported(tmp_path, server):
    with Asking(tmp_path, server) as device:
        data = device.next_image()
        action = server.deploy(data)
        start = device.said
        device.confirmed(start)
        device.board.wait_for("closed, success")
        device.board.wait_for("pull: no update", start=device.line("closed, success"))
        assert device.board.violation == ""
    assert [(f.execution, f.finished) for f in server.told] == [
        ("proceeding", "none"), ("closed", "success"),
    ]  # fmt: skip
    assert server.closed(action).details == "confirmed: 2"
