"""Settings that are missing or wrong: each is named, and everything still runs."""

import json

import boards
import pytest
from device import APP, Device
from mpota.arduino.outcomes import RefusedError
from mpota.board.files import settings_file
from mpota.board.flash import SLOT_STARTS
from mpota.board.record import NAME

pytestmark = pytest.mark.parallel

# An application that joins a network by itself, since the settings name none.
JOINS = APP.replace("    ota.on_error", """    import network
    network.WLAN(network.WLAN.IF_STA).connect("simulated", "")
    ota.on_error""")  # fmt: skip


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe\x00", b"{" * 3000], ids=ascii
)
def test_broken_settings_keep_nothing_from_running_and_let_nobody_update(tmp_path, content):
    def broken(files):
        del files["/ota.json"], files["/.ota/settings"]
        if content is not None:
            files["/ota.json"] = content

    with Device(tmp_path, JOINS) as device:
        start = device.change_files(broken)
        device.board.wait_for("E: ota.json: ", start=start)
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("listens on port 8266", start=start)
        if content is not None:  # the broken file may have contained a password
            error = device.fails(device.image(), RefusedError)
            assert "no password is set" in str(error)
            return
        # Without settings a trial takes a minute, so the test only waits until the trial begins.
        device.upload(device.next_image())
        device.board.wait_for("app 2 runs", start=start)
        device.board.wait_for("listens on port", start=start)
        assert device.board.violation == ""


# Settings with a wrong value, and what the board says about each. All settings of a group are tried
# at once.
NUMBER, TEXT, BOOL = "must be a number", "must be a text", "must be true or false"
WRONG = {
    "texts": {
        "hostname": ("", "must have 1 to 32 characters"),
        "port": ("8266", NUMBER),
        "confirm_s": ("soon", NUMBER),
        "trial_s": (None, NUMBER),
        "step_ms": ([], NUMBER),
        "reboot_on_success": ("yes", BOOL),
        "restart_for_update": ("no", BOOL),
        "legacy_signatures": (1, BOOL),
        "allow_downgrade": (None, BOOL),
        "safe_pins": ("5", "must be an object of pins and levels"),
        "key": ("k" * 65, "must have 0 to 64 characters"),
    },
    "numbers": {
        "hostname": (33, TEXT),
        "ssid": (5, TEXT),
        "key": (12345678, TEXT),
        "app": ({}, TEXT),
        "port": (0, "must be from 1 to 65535"),
        "confirm_s": (-1, "must be from 0 to 86400"),
        "trial_s": (0.5, "must be from 1 to 500000"),
        "step_ms": (2.5, "must be a number without a fraction"),
        "safe_pins": ({"17": 1}, "must have pins from 0 to 16 and levels 0 and 1"),
    },
    "too long": {
        "hostname": ("h" * 33, "must have 1 to 32 characters"),
        "port": (8266.5, "must be a number without a fraction"),
        "app": ("a" * 33, "must have 1 to 32 characters"),
        "confirm_s": (1e9, "must be from 0 to 86400"),
        "step_ms": (True, NUMBER),
        "safe_pins": ({"5": "high"}, "must have pins from 0 to 16 and levels 0 and 1"),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_each_wrong_setting_is_named_in_one_line_and_the_update_services_come_up(tmp_path, kind):
    settings = {name: value for name, (value, _) in WRONG[kind].items()}
    with Device(tmp_path, JOINS, **{"ssid": "simulated"} | settings) as device:
        device.board.wait_for("app 1 runs")
        device.board.wait_for(r"arduino: esp8266-\w{6} listens on port 8266$")
        for name, (_, problem) in WRONG[kind].items():
            said = [line for line in device.board.lines if f"ota.json: {name} " in line]
            assert said == [f"[ota] E: ota.json: {name} {problem}: its default is used"]
        # By default a trial takes a minute, so the test only waits until the trial begins.
        start = device.said
        device.upload(device.next_image())
        device.board.wait_for("app 2 runs", start=start)
        device.board.wait_for("listens on port 8266", start=start)
        assert device.board.violation == ""


@pytest.mark.parametrize(
    "wrong", [{"password": 1234}, {"password": "p" * 65}, {"password_hash": "beef"},
              {"password_sha256": "x" * 64}], ids=str,
)  # fmt: skip
def test_where_the_password_is_wrong_nobody_updates_the_board(tmp_path, wrong):
    with Device(tmp_path) as device:
        settings = boards.SETTINGS | wrong
        start = device.change_files(lambda files: files.update(settings_file(settings)))
        device.board.wait_for(
            f"ota.json: {next(iter(wrong))} must .*: its default is used", start=start
        )
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("listens on port", start=start)
        assert "no password is set" in str(device.fails(device.image(), RefusedError))


def test_port_and_host_name_are_settings(tmp_path):
    with Device(tmp_path, port=9000, hostname="greenhouse-of-thirty-two-letters") as device:
        device.board.wait_for("greenhouse-of-thirty-two-letters listens on port 9000")
        start = device.said
        device.upload(device.next_image(), board_port=9000)
        device.confirmed(start)


def test_settings_are_not_changed_by_the_board(tmp_path):
    with Device(tmp_path, more={"of": ["the", "user's"]}) as device:
        before = device.files()["/ota.json"]
        device.takes_an_update()
        assert device.files()["/ota.json"] == device.files()["/.ota/settings"] == before
        expected = boards.SETTINGS | {"confirm_s": 0.1, "more": {"of": ["the", "user's"]}}
        assert json.loads(before) == expected


# This main.py prints the levels of three pins before it does anything else.
TELLING_MAIN = b"""
from machine import Pin
print("levels", [Pin(n).value() for n in (4, 5, 12)])
import ota.start
ota.start.run()
"""


def test_pins_get_their_safe_levels_before_all_else_where_no_application_runs(tmp_path):
    def change(files):
        files["/main.py"] = TELLING_MAIN
        files.pop(NAME, None)

    with Device(tmp_path, safe_pins={"4": 1, "5": 0, "12": 1}) as device:
        start = device.change_files(change)
        device.board.wait_for(r"levels \[0, 0, 0\]", start=start)
        device.change_flash(lambda flash: flash.__setitem__(SLOT_STARTS["a"], 0))
        start = device.change_files(change)
        device.board.wait_for("no application yet", start=start)
        device.board.wait_for(r"levels \[1, 0, 1\]", start=start)
        device.board.wait_for("listens on port", start=start)


def test_a_board_with_all_services_on_starts_and_takes_an_update(tmp_path):
    services = {"web": True, "mdns": True, "update_url": "http://127.0.0.1:1/"}
    with Device(tmp_path, password="geheim", **services) as device:
        device.board.wait_for("web: http")
        assert not [line for line in device.board.lines if "MemoryError" in line]
        device.takes_an_update()
