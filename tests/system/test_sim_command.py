"""`mpota sim` as a user runs it: a process, its output, Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest
from boards import GARDEN, own_ip
from mpota.sim import read_flash
from openssl_command import public_key, test_key

_PATIENCE_S = 60


class Sim:
    """`mpota sim` with *arguments*, in *folder*; its lines are read as they come.

    The board joins its network at once. *before* is a command that starts the simulator. The
    process is killed when it takes too long, so that its output ends.
    """

    def __init__(self, folder, *arguments, before=()):
        self._process = subprocess.Popen(
            [*before, sys.executable, "-u", "-m", "mpota", "sim", "--join-s", "0", *arguments],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.said = []
        self._limit = threading.Timer(_PATIENCE_S, self._process.kill)
        self._limit.daemon = True
        self._limit.start()

    def until(self, pattern):
        """Read lines until one has *pattern*; fail when the output ends before."""
        for line in self._process.stdout:
            self.said.append(line.rstrip("\n"))
            if re.search(pattern, line):
                return line
        raise AssertionError(f"never said {pattern!r}: {self.said}")

    def end(self, number=None):
        """Send signal *number* if given; return the exit status and the rest of the output."""
        if number:
            self._process.send_signal(number)
        rest, _ = self._process.communicate(timeout=20)
        self._limit.cancel()
        return self._process.returncode, rest


def upload(*arguments):
    """Run `mpota upload`; return its exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "mpota", "upload", *map(str, arguments)],
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout


def application(folder, version, sequence, source):
    """Make the folder of an application named `small`."""
    folder.mkdir()
    (folder / "app.py").write_text(source)
    table = f'[tool.mpota]\nname = "small"\nversion = "{version}"\nsequence = {sequence}\n'
    (folder / "pyproject.toml").write_text(table)
    return folder


def test_a_new_board_says_when_it_is_ready_and_ends_with_ctrl_c(tmp_path):
    ip = own_ip()
    sim = Sim(tmp_path, "--app", str(GARDEN / "1.0.0"), "--ip", ip)
    assert f"takes updates at {ip}:8266" in sim.until("board: ready")
    started = re.compile(rf"\d\d:\d\d:\d\d\.\d{{3}} {re.escape(ip)}\| \[ota\] I: boot: slot a")
    assert any(started.match(line) for line in sim.said)
    status, rest = sim.end(signal.SIGINT)
    assert (status, "start it again with --flash board.img" in rest) == (0, True)
    assert (tmp_path / "board.img").stat().st_size == 4 * 1024 * 1024


def test_where_only_root_may_use_port_80_the_page_is_at_a_higher_one(tmp_path):
    ip = own_ip()
    may_not = ("setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service")
    sim = Sim(tmp_path, "--ip", ip, before=may_not if os.geteuid() == 0 else ())
    line = sim.until("update page")
    assert f"http://{ip}:8080/update, since only root may use port 80" in line
    with urllib.request.urlopen(f"http://{ip}:8080/update", timeout=_PATIENCE_S) as page:
        assert page.status == 200
    assert sim.end(signal.SIGINT)[0] == 0


def test_a_second_start_goes_on_with_the_same_flash(tmp_path):
    ip = own_ip()
    sim = Sim(tmp_path, "--app", str(GARDEN / "1.0.0"), "--ip", ip, "--confirm-after", "0.2",
              "--password", "rain")  # fmt: skip
    sim.until("board: ready")
    assert upload(GARDEN / "2.0.0", "-i", ip, "-a", "rain")[0] == 0
    restart = sim.until("^board: restart")
    erases, pages, seconds = re.search(
        r"the (\d+) erased sectors and (\d+) written pages .* take (\S+) s on a real chip$", restart
    ).groups()
    assert int(erases) > 0
    assert int(pages) > 0
    assert abs(float(seconds) - (int(erases) * 0.045 + int(pages) * 0.0007)) < 0.051
    sim.until("slot b is confirmed")
    assert sim.end(signal.SIGTERM)[0] == 0
    sim = Sim(tmp_path, "--ip", ip)
    sim.until("garden 2.0.0")
    assert sim.end(signal.SIGINT)[0] == 0


@pytest.mark.parametrize(("join_s", "is_connected"), [("0", True), ("60", False)])
def test_a_board_takes_as_long_to_join_its_network_as_was_asked_for(tmp_path, join_s, is_connected):
    source = """
import network

def main(ota):
    print("connected", network.WLAN(network.WLAN.IF_STA).isconnected())
"""
    app = application(tmp_path / "app", "1", 1, source)
    sim = Sim(tmp_path, "--app", str(app), "--ip", own_ip(), "--join-s", join_s)
    sim.until(rf"\| connected {is_connected}$")
    assert sim.end(signal.SIGINT)[0] == 0


def test_settings_can_be_given(tmp_path):
    sim = Sim(tmp_path, "--app", str(GARDEN / "1.0.0"), "--ip", own_ip(), "--set", "hostname=rose",
              "--set", "password=rain", "--set", "web=false")  # fmt: skip
    sim.until("rose listens on port")
    assert sim.end(signal.SIGINT)[0] == 0
    assert not any("no password is set" in line or "web:" in line for line in sim.said)
    settings = json.loads(read_flash(tmp_path / "board.img")["/ota.json"])
    assert settings["hostname"] == "rose" and "password" not in settings
    assert len(settings["password_sha256"]) == 64


def test_only_the_network_that_is_in_reach_can_be_joined(tmp_path):
    app = ("--app", str(GARDEN / "1.0.0"))
    sim = Sim(tmp_path, *app, "--ip", own_ip(), "--ssid", "roses", "--set", "ssid=roses")
    sim.until("wifi: joined roses")
    assert sim.end(signal.SIGINT)[0] == 0
    sim = Sim(tmp_path, *app, "--ip", own_ip(), "--ssid", "roses", "--set", "ssid=weeds",
              "--flash", "other.img")  # fmt: skip
    sim.until("wifi: weeds: there is no such network")
    assert sim.end(signal.SIGINT)[0] == 0


def test_a_program_with_a_main_of_its_own_runs(tmp_path):
    folder = tmp_path / "program"
    (folder / "lib" / "__pycache__").mkdir(parents=True)
    (folder / "lib" / "__pycache__" / "valves.pyc").touch()
    (folder / "lib" / "valves.py").write_text("COUNT = 3\n")
    (folder / "main.py").write_text(
        "import time, valves\nfrom ota import OTA\nprint('valves', valves.COUNT, time.ticks_ms())\n"
    )
    sim = Sim(tmp_path, "--files", str(folder), "--ip", own_ip(), "--ticks", "1073740000")
    assert int(sim.until(r"\| valves 3 \d+").split()[-1]) >= 1073740000
    assert sim.end(signal.SIGINT)[0] == 0
    assert "/lib/__pycache__/valves.pyc" not in read_flash(tmp_path / "board.img")


def test_a_power_cut_ends_it_and_is_told(tmp_path):
    ip = own_ip()
    sim = Sim(tmp_path, "--app", str(GARDEN / "1.0.0"), "--ip", ip, "--power-cut-after", "5")
    sim.until("board: ready")
    assert upload(GARDEN / "2.0.0", "-i", ip)[0] == 1
    status, rest = sim.end()
    assert status == 0
    assert "the power failed after 5 flash operations; start it again" in rest


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--ip", "192.0.2.1"], "not an address of 127.0.0.0/8"),
        (["--ip", "garden"], "not an address of 127.0.0.0/8"),
        (["--heap", "lots"], "give it like 56k"),
        (["--heap", "31k"], "give 32k or more; 56k corresponds to the chip's heap"),
        (["--heap", "32767"], "give 32k or more; 56k corresponds to the chip's heap"),
        (["--app", "nowhere"], "nowhere is not a directory"),
        (["--files", "nowhere"], "nowhere is not a directory"),
        (["--set", "hostname"], "the setting hostname has no value: give hostname=VALUE"),
        (["--set", "confirm_s=soon"], "the setting confirm_s must be a number"),
        (["--flash", "no/such/folder.img"], "cannot use no/such/folder.img"),
        (["--flash", "short.img"], "not a flash image"),
        (["--publickey", "broken.key"], "broken.key is not a valid public key in PEM"),
        (["--publickey", str(test_key("2048"))], "is a private key, where the public key is"),
        (["--publickey", "nowhere.key"], "cannot read the key nowhere.key"),
    ],
)
def test_bad_options_end_with_one_line_and_status_1(tmp_path, arguments, complaint):
    (tmp_path / "short.img").write_bytes(b"short")
    (tmp_path / "broken.key").write_text("-----BEGIN PUBLIC KEY-----\nMIIB\n")
    if "--ip" not in arguments:
        arguments = [*arguments, "--ip", own_ip()]
    status, said = Sim(tmp_path, *arguments).end()
    assert status == 1
    assert said.startswith("error: ")
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "board.img").exists()


def test_two_boards_do_not_share_a_flash_or_an_address(tmp_path):
    ip = own_ip()
    sim = Sim(tmp_path, "--app", str(GARDEN / "1.0.0"), "--ip", ip)
    sim.until("board: ready")
    status, said = Sim(tmp_path, "--ip", own_ip()).end()
    assert (status, "another simulated board uses board.img" in said) == (1, True)
    status, said = Sim(tmp_path, "--flash", "other.img", "--ip", ip).end()
    assert (status, "is taken" in said) == (1, True)
    status, said = Sim(tmp_path, "--app", str(GARDEN / "2.0.0"), "--ip", own_ip()).end()
    assert (status, "exists already" in said) == (1, True)
    assert sim.end(signal.SIGINT)[0] == 0


def test_boards_side_by_side_are_updated_one_without_the_other(tmp_path):
    first_ip, second_ip = own_ip(), own_ip()
    settings = ("--app", str(GARDEN / "1.0.0"), "--confirm-after", "0.2")
    first = Sim(tmp_path, "--flash", "first.img", "--ip", first_ip, *settings)
    second = Sim(tmp_path, "--flash", "second.img", "--ip", second_ip, *settings)
    assert f"takes updates at {first_ip}:8266" in first.until("board: ready")
    assert f"takes updates at {second_ip}:8266" in second.until("board: ready")
    assert upload(GARDEN / "2.0.0", "-i", second_ip)[0] == 0
    second.until("slot b is confirmed")
    assert upload(GARDEN / "2.0.0", "-i", first_ip)[0] == 0
    first.until("slot b is confirmed")
    # Each simulator printed only the lines of its own board, and each board was updated once.
    for sim, ip in ((first, first_ip), (second, second_ip)):
        assert sim.end(signal.SIGINT)[0] == 0
        assert {line.split("|")[0].split()[1] for line in sim.said if "|" in line} == {ip}
        assert sum("announced" in line for line in sim.said) == 1


def test_the_heap_is_as_large_as_was_asked_for(tmp_path):
    source = "import gc\n\ndef main(ota):\n    print('heap', gc.mem_free() + gc.mem_alloc())\n"
    app = application(tmp_path / "app", "1", 1, source)
    found = {}
    for size in ("32k", "1m"):
        sim = Sim(tmp_path, "--flash", size, "--app", str(app), "--heap", size, "--ip", own_ip())
        found[size] = int(sim.until(r"\| heap \d+").split()[-1])
        assert sim.end(signal.SIGINT)[0] == 0
    difference = 1024 * 1024 - 32 * 1024
    assert 0.95 * difference < found["1m"] - found["32k"] <= difference


def test_a_board_with_a_public_key_takes_what_is_signed_and_nothing_else(tmp_path):
    ip = own_ip()
    source = "def main(ota):\n    while True:\n        ota.handle()\n"
    app = application(tmp_path / "app", "1.0.0", 1, source)
    new = application(tmp_path / "new", "2.0.0", 2, source)
    key = test_key("2048")
    sim = Sim(tmp_path, "--app", str(app), "--ip", ip, "--confirm-after", "0.2",
              "--publickey", str(public_key(key, tmp_path)))  # fmt: skip
    sim.until("board: ready")
    status, said = upload(new, "-i", ip)
    assert (status, "signature is missing or wrong" in said) == (1, True), said
    (new / "private.key").write_bytes(key.read_bytes())
    status, said = upload(new, "-i", ip)
    assert (status, "Enabling binary signing" in said) == (0, True), said
    sim.until("slot b is confirmed")
    assert sim.end(signal.SIGTERM)[0] == 0
