"""`mpota sim` as a user runs it: a process, its output, Ctrl-C."""

import re
import signal
import subprocess
import sys

import pytest
from boards import GARDEN, own_ip


class Sim:
    """`mpota sim` with *arguments*, in *folder*; its lines are read as they come."""

    def __init__(self, folder, *arguments):
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "mpota", "sim", *arguments],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.said = []

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
        return self._process.returncode, rest


def test_a_new_board_says_when_it_is_ready_and_ends_with_ctrl_c(tmp_path):
    ip = own_ip()
    sim = Sim(tmp_path, "--app", str(GARDEN / "1.0.0"), "--ip", ip)
    assert f"takes updates at {ip}:8266" in sim.until("board: ready")
    assert any(line.startswith(f"{ip}| [ota] I: boot: slot a") for line in sim.said)
    status, rest = sim.end(signal.SIGINT)
    assert (status, "board.img goes on from here" in rest) == (0, True)
    assert (tmp_path / "board.img").stat().st_size == 4 * 1024 * 1024


def test_a_second_start_goes_on_with_the_same_flash(tmp_path):
    ip = own_ip()
    sim = Sim(tmp_path, "--app", str(GARDEN / "1.0.0"), "--ip", ip, "--confirm-after", "0.2",
              "--password", "rain")  # fmt: skip
    sim.until("board: ready")
    upload = [sys.executable, "-m", "mpota", "upload", str(GARDEN / "2.0.0"), "-i", ip]
    assert subprocess.run([*upload, "-a", "rain"], check=False).returncode == 0
    sim.until("slot b is confirmed")
    assert sim.end(signal.SIGTERM)[0] == 0
    sim = Sim(tmp_path, "--ip", ip)
    sim.until("garden 2.0.0")
    assert sim.end(signal.SIGINT)[0] == 0


def test_a_power_cut_ends_it_and_is_told(tmp_path):
    ip = own_ip()
    sim = Sim(tmp_path, "--app", str(GARDEN / "1.0.0"), "--ip", ip, "--power-cut-after", "5")
    sim.until("board: ready")
    upload = [sys.executable, "-m", "mpota", "upload", str(GARDEN / "2.0.0"), "-i", ip]
    assert subprocess.run(upload, check=False, capture_output=True).returncode == 1
    status, rest = sim.end()
    assert status == 0
    assert "the power failed after 5 flash operations; start it again" in rest


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--ip", "192.0.2.1"], "no address of 127.0.0.0/8"),
        (["--ip", "garden"], "no address of 127.0.0.0/8"),
        (["--heap", "lots"], "give it like 56k"),
        (["--app", "nowhere"], "nowhere is no directory"),
        (["--flash", "no/such/folder.img"], "cannot use no/such/folder.img"),
        (["--flash", "short.img"], "not a flash image"),
    ],
)
def test_bad_options_end_with_one_line_and_status_1(tmp_path, arguments, complaint):
    (tmp_path / "short.img").write_bytes(b"short")
    if "--ip" not in arguments:
        arguments = [*arguments, "--ip", own_ip()]
    status, said = Sim(tmp_path, *arguments).end()
    assert status == 1
    assert said.startswith("error: ")
    assert complaint in said
    assert said.count("\n") == 1


def test_two_boards_do_not_share_a_flash_or_an_address(tmp_path):
    ip = own_ip()
    sim = Sim(tmp_path, "--app", str(GARDEN / "1.0.0"), "--ip", ip)
    sim.until("board: ready")
    status, said = Sim(tmp_path, "--ip", own_ip()).end()
    assert (status, "another board runs on board.img" in said) == (1, True)
    status, said = Sim(tmp_path, "--flash", "other.img", "--ip", ip).end()
    assert (status, "Give another --ip" in said) == (1, True)
    status, said = Sim(tmp_path, "--app", str(GARDEN / "2.0.0"), "--ip", own_ip()).end()
    assert (status, "there already" in said) == (1, True)
    assert sim.end(signal.SIGINT)[0] == 0
