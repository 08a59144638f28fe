"""`mpota dev` with a simulated board: what changes is uploaded, and its log is shown."""

import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from device import Device
from mpota.board.record import NAME, Record
from mpota.folder import Folder
from test_mdns import PATIENCE_S

APP = """
import time

def main(ota):
    print("TEXT")
    while True:
        ota.handle()
        time.sleep_ms(10)
"""
MANIFEST = '[tool.mpota]\nname = "small"\nversion = "1.0"\nsequence = 1\n'


class Dev:
    """A running `mpota dev`; `lines` are what it has printed."""

    def __init__(self, folder: Path, board: str, log_port: int, password: str = ""):
        self.lines: list[str] = []
        command = [sys.executable, "-u", "-m", "mpota", "dev", folder, "-i", board]
        self._process = subprocess.Popen(
            [*map(str, command), "--log-port", str(log_port)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"MPOTA_PASSWORD": password},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    def __enter__(self) -> "Dev":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_S)
        self._reader.join()

    def wait_for(self, pattern: str, start: int = 0) -> int:
        """Wait, from line `start` on, for one with `pattern`; return the number of the next."""
        deadline = time.monotonic() + 3 * PATIENCE_S
        while time.monotonic() < deadline:
            for number, line in enumerate(self.lines[start:], start):
                if re.search(pattern, line):
                    return number + 1
            time.sleep(0.05)
        raise AssertionError(f"{pattern} did not come: {self.lines}")


def folder_with(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "app.py").write_text(APP.replace("TEXT", text))
    (path / "pyproject.toml").write_text(MANIFEST)
    return path


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("0.0.0.0", 0))
        return udp.getsockname()[1]


def test_what_changes_is_uploaded_and_the_log_is_shown(tmp_path):
    port = free_port()
    folder = folder_with(tmp_path / "garden", "first text")
    settings = {"log_host": f"127.0.0.1:{port}", "confirm_s": 0.3}
    with Device(tmp_path, **settings) as device, Dev(folder, device.board.ip, port) as dev:
        device.board.wait_for("first text")
        at = dev.wait_for("small 1.0, sequence 2: confirmed")
        # The log has lines from before and after the restart.
        dev.wait_for(r"  \| \[ota\] I: update: small 1.0 is verified")
        dev.wait_for(r"  \| \[ota\] I: trial: slot b is confirmed")
        at = dev.wait_for("waiting for changes", at)
        (folder / "app.py").write_text(APP.replace("TEXT", "second text"))
        device.board.wait_for("second text")
        at = dev.wait_for("small 1.0, sequence 3: confirmed", at)
        at = dev.wait_for("waiting for changes", at)
        # An error of packing is shown, and the board is not changed.
        (folder / "app.py").write_text("def main(ota:\n")
        at = dev.wait_for("error: .*app.py", at)
        at = dev.wait_for("waiting for changes", at)
        (folder / "app.py").write_text("def main(ota):\n    raise ValueError('third')\n")
        at = dev.wait_for("sequence [45]: taken back: raised ValueError: third", at)
        at = dev.wait_for("waiting for changes", at)
        (folder / "app.py").write_text(APP.replace("TEXT", "fourth text"))
        dev.wait_for("sequence [56]: confirmed", at)
        device.board.wait_for("fourth text")
        assert not [line for line in dev.lines if "log_host" in line]
    assert (folder / "pyproject.toml").read_text() == MANIFEST


def test_without_log_lines_it_is_said_how_to_get_them(tmp_path):
    folder = folder_with(tmp_path / "garden", "text")
    port = free_port()
    with Device(tmp_path, confirm_s=0.3) as device, Dev(folder, device.board.ip, port) as dev:
        dev.wait_for(rf"mpota config set log_host=127\.\d+\.\d+\.\d+:{port}'$")


def test_on_a_board_with_a_password_the_next_one_need_not_wait_for_the_end_of_a_trial(tmp_path):
    folder = folder_with(tmp_path / "garden", "first text")
    with (
        Device(tmp_path, confirm_s=3600, trial_s=7200, password="geheim") as device,
        Dev(folder, device.board.ip, free_port(), "geheim") as dev,
    ):
        device.board.wait_for("first text")
        (folder / "app.py").write_text(APP.replace("TEXT", "second text"))
        dev.wait_for("sequence 2: confirmed")
        device.board.wait_for("second text")


def test_a_board_whose_floor_is_higher_gets_a_higher_sequence(tmp_path):
    folder = folder_with(tmp_path / "garden", "text")
    with Device(tmp_path, confirm_s=0.1) as device:

        def raise_floor(files):
            record = Record.parse(files[NAME])
            files[NAME] = dataclasses.replace(record, floor=40).pack()

        device.board.wait_for("listens on", start=device.change_files(raise_floor))
        with Dev(folder, device.board.ip, free_port()) as dev:
            dev.wait_for("sequence 41: confirmed")


# The folder


def test_changes_of_a_folder_are_told_when_they_are_over(tmp_path):
    (tmp_path / "a.py").write_text("1")
    folder = Folder(tmp_path)
    assert not folder.has_changed()
    for change in (
        lambda: (tmp_path / "a.py").write_text("22"),
        lambda: (tmp_path / "b.py").write_text("1"),
        lambda: (tmp_path / "a.py").unlink(),
        lambda: (tmp_path / "lib").mkdir() or (tmp_path / "lib" / "c.py").write_text("1"),
    ):
        change()
        assert folder.has_changed()
        folder.wait()
        assert not folder.has_changed()
    for name in (".git", "__pycache__"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("1")
    (tmp_path / ".a.py.swp").write_text("1")
    assert not folder.has_changed()


def test_one_change_is_told_of_several_files_that_are_written_one_after_the_other(tmp_path):
    folder = Folder(tmp_path)

    def write():
        for number in range(10):
            (tmp_path / f"{number}.py").write_text("1")
            time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    folder.wait()
    writer.join()
    assert len(list(tmp_path.iterdir())) == 10 and not folder.has_changed()
