"""The status of simulated boards, and the end of uploads, as the host tools tell them."""

import json
import os
import re
import subprocess
import sys
import threading
import time

import boards
import pytest
from device import APP, Device
from filling import leaving
from mpota.arduino import BOARD_PORT
from mpota.arduino.outcomes import (
    BusyError,
    NoAnswerError,
    RefusedError,
    RequestRefusedError,
    WrongPasswordError,
)
from mpota.arduino.status import ask_status, request
from mpota.arduino.trial import Ending, await_ending
from mpota.sim.rom_modules import control
from raw_host import RawHost

pytestmark = pytest.mark.parallel

PASSWORD = "geheim"
# The board does not confirm this application by itself, although the application is healthy.
UNDECIDED = APP.replace("ota.on_error", "ota.auto_confirm = False\n    ota.on_error")
HANGS = "def main(ota):\n    print('hangs')\n    while True:\n        pass"
# If the application leaves only this much of the chip's heap, no update begins beside it.
TOO_LITTLE_KB = 7


def status(device):
    return ask_status(device.board.ip, BOARD_PORT, device.password)


def asked(device, command):
    """Let the board do `command`; return its answer."""
    return request(command, device.board.ip, BOARD_PORT, device.password)


def until(device, state):
    """Ask until the board is in `state`; return the status."""
    deadline = time.monotonic() + 60
    while (told := status(device)).state != state:
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
    return told


def sent(device, data, wait_s=120):
    """Upload `data`, and wait for the end of its trial; return that, and the stages before."""
    device.upload(data)
    stages = []
    end = await_ending(
        device.board.ip, BOARD_PORT, device.password, str(device.sequence), wait_s,
        lambda stage, detail: stages.append(stage),
    )  # fmt: skip
    return end, stages


def mpota(*arguments, password=""):
    """Run the command; return the finished process."""
    command = [sys.executable, "-m", "mpota", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=180, check=False,
        env=os.environ | {"MPOTA_PASSWORD": password},
    )  # fmt: skip


# The status in each state


@pytest.mark.parametrize("password", ["", PASSWORD], ids=["open", "password"])
def test_an_application_is_idle_until_it_is_healthy(tmp_path, password):
    with Device(tmp_path, confirm_s=1.5, password=password) as device:
        idle = status(device)
        healthy = until(device, "healthy")
    for told, state in ((idle, "idle"), (healthy, "healthy")):
        assert (told.name, told.version, told.sequence, told.slot) == ("small", "1", 1, "a")
        assert (told.state, told.trial_left_s, told.outcome) == (state, None, "")
        assert told.address == device.board.ip and told.firmware.startswith("1.")
        assert 1000 < told.free_heap_bytes < 56 * 1024
    assert idle.uptime_s <= healthy.uptime_s < 60


def test_a_version_on_trial_and_what_becomes_of_it(tmp_path):
    with Device(tmp_path, trial_s=70, confirm_s=0.1) as device:
        device.upload(device.next_image(UNDECIDED))
        device.board.wait_for("on trial, boot 1 of 3")
        device.board.wait_for("app 2 runs")
        told = until(device, "trial")
        assert (told.sequence, told.slot) == (2, "b") and 0 < told.trial_left_s <= 70


def test_a_board_without_an_application_runs_the_services(tmp_path):
    with boards.board_with(tmp_path, None) as board:
        board.wait_for("listens on port")
        told = ask_status(board.ip, BOARD_PORT)
    assert (told.name, told.sequence, told.slot, told.state) == ("", 0, "", "services")


def test_an_application_that_has_raised_leaves_the_services_which_tell(tmp_path):
    with Device(tmp_path, APP.replace("    while True:", "    1 / 0\n    while True:")) as device:
        device.board.wait_for("the services go on without it")
        told = status(device)
        assert (told.slot, told.state) == ("a", "services")


def test_safe_mode_is_told(tmp_path):
    # The first ten boots are not healthy, since the application resets at once.
    app = "import machine\n\ndef main(ota):\n    print('again')\n    machine.reset()\n"
    with boards.board_with(tmp_path, boards.small_image("1", 1, {"app.py": app.encode()})) as board:
        board.wait_for("safe mode")
        board.wait_for("listens on port")
        told = ask_status(board.ip, BOARD_PORT)
    assert (told.slot, told.state) == ("", "safe")


def test_a_board_that_takes_an_update_says_no_more_than_that(device):
    data = device.next_image()
    with RawHost(device.board.ip) as host:
        host.begin(data)
        with pytest.raises(BusyError):
            status(device)
        host.send(data)
        assert host.result() == "OK"
    device.confirmed(0)


# The password


def test_the_status_is_for_those_who_know_the_password(tmp_path):
    with Device(tmp_path, password=PASSWORD) as device:
        device.password = "guess"
        begun = time.monotonic()
        for _ in range(3):
            with pytest.raises(WrongPasswordError):
                status(device)
        # The second and third wrong password had to wait for 0.5 s and 1 s. The right one has to
        # wait for 2 s, and ends these pauses.
        device.password = PASSWORD
        assert status(device).name == "small"
        assert time.monotonic() - begun >= 3.4
        begun = time.monotonic()
        status(device)
        assert status(device).name == "small" and time.monotonic() - begun < 3


def test_wrong_passwords_of_requests_put_an_upload_off_and_do_not_keep_it_out(tmp_path):
    with Device(tmp_path, password=PASSWORD) as device:
        for command in ("status", "revert"):
            with pytest.raises(WrongPasswordError):
                request(command, device.board.ip, BOARD_PORT, "guess")
        device.takes_an_update()


def test_who_asks_again_and_again_keeps_no_update_out(tmp_path):
    with Device(tmp_path, password=PASSWORD) as device, RawHost(device.board.ip) as stranger:
        ask = b"MPOTA status".ljust(255) + b"\n"
        guess = b"MPOTA status %s %s" % (b"c" * 64, b"0" * 64)
        start = device.said
        for _ in range(50):
            stranger.say(ask)
            stranger.say(guess.ljust(255) + b"\n")
        device.upload(device.next_image())
        device.confirmed(start)


# Confirm, reject, revert


def test_the_owner_confirms_a_version(tmp_path):
    with Device(tmp_path, password=PASSWORD) as device:
        start = device.said
        device.upload(device.next_image(UNDECIDED))
        device.board.wait_for("app 2 runs", start=start)
        until(device, "trial")
        assert asked(device, "confirm") == "OK"
        device.confirmed(start)
        told = status(device)
        assert (told.sequence, told.outcome) == (2, "confirmed: 2") and told.state != "trial"
        for command in ("confirm", "reject"):
            with pytest.raises(RequestRefusedError, match="no version is on trial"):
                asked(device, command)


@pytest.mark.parametrize("command", ["reject", "revert"])
def test_the_owner_takes_a_version_back(tmp_path, command):
    with Device(tmp_path, password=PASSWORD) as device:
        start = device.said
        data = device.next_image(UNDECIDED)
        device.upload(data)
        device.board.wait_for("app 2 runs", start=start)
        until(device, "trial")
        assert asked(device, command) == "OK"
        device.board.wait_for("app 1 runs", start=device.line("app 2 runs", start))
        device.board.wait_for("listens", start=device.line("app 1 runs", start))
        told = status(device)
        assert (told.sequence, told.outcome) == (1, "taken back: 2: the owner wished it")
        device.refuses(data, 35)


def test_the_owner_goes_back_to_the_version_before_once(tmp_path):
    with Device(tmp_path, password=PASSWORD, confirm_s=0.5) as device:
        with pytest.raises(RequestRefusedError, match="no version to go back to"):
            asked(device, "revert")
        device.update()
        start = device.said
        assert asked(device, "revert") == "OK"
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("is confirmed", start=start)
        assert status(device).version == "1"


def test_an_open_board_does_what_nobody_has_proven(device):
    for command in ("confirm", "reject", "revert"):
        with pytest.raises(RequestRefusedError, match="has no password"):
            asked(device, command)


# What becomes of an upload


@pytest.mark.parametrize("password", ["", PASSWORD], ids=["open", "password"])
def test_a_good_release_is_confirmed(tmp_path, password):
    with Device(tmp_path, password=password, confirm_s=2) as device:
        for data in (device.next_image(), device.image()):  # the same image comes twice
            end, stages = sent(device, data)
            assert end == Ending("confirmed", runs="small 2")
            assert stages[0] == "the board restarts" and "on trial" in stages


@pytest.mark.parametrize(
    ("source", "settings", "why"),
    [
        ("import no_such_module", {}, "raised ImportError: no module nam…"),
        (HANGS, {}, "it hung"),
        (UNDECIDED, {"trial_s": 1}, "not confirmed in 3 boots"),
    ],
    ids=["raises", "hangs", "never healthy"],
)
def test_a_bad_release_is_taken_back_and_the_board_says_why(tmp_path, source, settings, why):
    with Device(tmp_path, **settings) as device:
        end, _ = sent(device, device.next_image(source))
        assert end == Ending("taken back", why, "small 1")


def test_a_trial_that_goes_on_is_not_decided(tmp_path):
    with Device(tmp_path) as device:
        end, _ = sent(device, device.next_image(UNDECIDED), wait_s=5)
        assert end.verdict == "undecided"
        assert end.why.startswith("on trial for ") and end.why.endswith(" s at most")


def test_a_board_that_does_not_restart_is_not_decided(tmp_path):
    with Device(tmp_path, reboot_on_success=False) as device:
        time.sleep(2)  # otherwise the board's boot would be as recent as the upload
        end, _ = sent(device, device.next_image(), wait_s=4)
        expected = "the board has not restarted yet, and tries the new version then"
        assert end == Ending("undecided", expected)


def test_a_board_whose_password_has_changed_does_not_tell(tmp_path):
    app = APP.replace("    ota.on_error", "    ota.settings['password'] = 'new'\n    ota.on_error")
    with Device(tmp_path, password=PASSWORD) as device:
        end, _ = sent(device, device.next_image(app))
        assert end.verdict == "undecided" and "does not take this password" in end.why


# Out of memory


def test_a_full_heap_is_told_in_words_and_in_the_first_32_bytes(tmp_path):
    with Device(tmp_path, leaving(boards.chip_kb(TOO_LITTLE_KB))) as device:
        device.board.wait_for("^leaves ")
        error = device.fails(device.next_image(), RefusedError)
        assert "bytes of heap free, and an update needs" in str(error)
        assert "set a password" in str(error) and "firewall" not in str(error)
        with RawHost(device.board.ip) as host:
            host.invite(1000)
            assert re.match(r"ERR: ERROR\[14\]: \d+ of \d+ ", host.answer()[:32])
        device.board.wait_for("out of memory: there is too little heap for an update")


@pytest.mark.parametrize("join_s", [2, 12])
def test_a_board_that_restarts_for_the_update_is_waited_for(tmp_path, join_s):
    with Device(tmp_path, leaving(boards.chip_kb(TOO_LITTLE_KB)), password=PASSWORD) as device:
        device.board.wait_for("^leaves ")
        start = device.said

        def let_it_join_slowly():
            device.board.wait_for("restarts without it", start=start)
            device.board.control[control.JOIN_MS] = join_s * 1000
            device.board.wait_for("wifi: joined", start=start)
            device.board.control[control.JOIN_MS] = 0

        threading.Thread(target=let_it_join_slowly, daemon=True).start()
        end, _ = sent(device, device.next_image(APP))
        assert end == Ending("confirmed", runs="small 2")
        device.board.wait_for("the services run alone, for one update", start=start)


# The commands


def test_two_boards_at_once_have_an_end_each(tmp_path):
    # The release is bad on one of the boards.
    source = """
def main(ota):
    if ota.settings["hostname"] == "bad":
        raise ValueError("not here")
    while True:
        ota.handle()
"""
    path = tmp_path / "x.img"
    folders = [tmp_path / name for name in ("good", "bad")]
    for folder in folders:
        folder.mkdir()
    with (
        Device(folders[0], password=PASSWORD, hostname="good") as good,
        Device(folders[1], password=PASSWORD, hostname="bad") as bad,
    ):
        path.write_bytes(good.next_image(source))
        addresses = good.board.ip, bad.board.ip
        done = mpota("upload", path, "-i", addresses[0], "-i", addresses[1], password=PASSWORD)
        assert (done.returncode, done.stderr) == (1, "")
        # The columns are as wide as the longest address.
        table = [" ".join(line.split()) for line in done.stdout.splitlines()[-3:]]
        assert table[1] == f"{addresses[0]} confirmed"
        assert table[2].startswith(
            f"{addresses[1]} taken back: raised ValueError: not here; small 1"
        )
        told = mpota("status", *addresses, "--json", password=PASSWORD)
        states = [(it["board"], it["sequence"], it["outcome"]) for it in json.loads(told.stdout)]
        assert states == [
            (addresses[0], 2, "confirmed: 2"),
            (addresses[1], 1, "taken back: 2: raised ValueError: not here"),
        ]


def test_a_board_that_knows_the_classic_handshake_alone_tells_nothing_more(tmp_path):
    hashed = "e8636ea013e682faf61f56ce1cb1ab5c"  # the MD5 of geheim
    with Device(tmp_path, password_hash=hashed) as device:
        path = tmp_path / "x.img"
        path.write_bytes(device.next_image())
        start = device.said
        done = mpota("upload", path, "-i", device.board.ip, "--classic", password=PASSWORD)
        assert done.returncode == 0, done.stderr
        assert "verified and taken it, and does not tell whether it works" in done.stdout
        device.confirmed(start)


def test_a_board_that_is_off_tells_nothing(tmp_path):
    with Device(tmp_path) as device:
        device.board.power_off()
        with pytest.raises(NoAnswerError):
            ask_status(device.board.ip, BOARD_PORT, patience_s=1)
