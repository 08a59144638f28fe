"""Settings that are missing or broken: the application and the services run all the same."""

import json

import boards
import pytest
from device import APP, Device
from mpota.arduino.outcomes import RefusedError
from mpota.sim import create_flash

pytestmark = pytest.mark.parallel

# Joins a network by itself, where the settings name none.
JOINS = APP.replace("    ota.on_error", """    import network
    network.WLAN(network.WLAN.IF_STA).connect("simulated", "")
    ota.on_error""")  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"not JSON", b"[]", b"5", b"null", b'"text"', b"\xff\xfe\x00", b"{" * 3000],
    ids=ascii,
)
def test_broken_settings_keep_nothing_from_running_and_let_nobody_update(tmp_path, content):
    with Device(tmp_path, JOINS) as device:
        device.board.power_off()
        files = device.files()
        files["/ota.json"] = content
        create_flash(device.board.flash, {n: c for n, c in files.items() if c is not None})
        start = device.said
        device.board.power_on()
        device.board.wait_for("E: ota.json: ", start=start)
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("listens on port 8266", start=start)
        if content is not None:  # it may have had a password
            error = device.fails(device.image(), RefusedError)
            assert "no password is set" in str(error)
            return
        # A trial takes a minute without settings: it is enough to see it begin.
        device.upload(device.next_image())
        device.board.wait_for("app 2 runs", start=start)
        device.board.wait_for("listens on port", start=start)
        assert device.board.violation == ""


def test_port_and_host_name_are_settings(tmp_path):
    with Device(tmp_path, port=9000, hostname="greenhouse") as device:
        device.board.wait_for("greenhouse listens on port 9000")
        start = device.said
        device.upload(device.next_image(), board_port=9000)
        device.confirmed(start)


def test_settings_are_not_changed_by_the_board(tmp_path):
    with Device(tmp_path, more={"of": ["the", "user's"]}) as device:
        before = device.files()["/ota.json"]
        device.takes_an_update()
        assert device.files()["/ota.json"] == before
        expected = boards.SETTINGS | {"confirm_s": 0.1, "more": {"of": ["the", "user's"]}}
        assert json.loads(before) == expected
