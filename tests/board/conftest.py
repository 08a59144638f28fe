"""A real board, or a simulated one on a pseudo-terminal: `make test-board` says what it needs.

| variable | what |
| --- | --- |
| MPOTA_TEST_PORT | the serial port of a board whose flash may be overwritten |
| MPOTA_TEST_HOST | the board's address, where the network gives it another than it says itself |
| MPOTA_TEST_FIRMWARE | a .bin file of MicroPython; default: the pinned one is downloaded |
| MPOTA_WIFI_SSID, MPOTA_WIFI_KEY | a Wi-Fi network of 2.4 GHz that this computer is in as well |
"""

import os
import re
import subprocess
import sys
import threading
import time

import pytest
from boards import small_image
from mpota import arduino
from mpota.board.console import lines
from mpota.board.port import open_port, press_reset

PORT = os.environ.get("MPOTA_TEST_PORT", "")
PASSWORD = "only for the test"
APP = """
import time
def main(ota):
    print("app {version} runs")
    while True:
        ota.handle()
        time.sleep_ms(2)
"""

if not PORT:
    collect_ignore_glob = ["test_*.py"]


class RealBoard:
    """A board that was flashed just now; `said` are the lines since then."""

    def __init__(self, said_by_flash: str) -> None:
        found = re.search(r"is up at (\S+), MAC", said_by_flash)
        assert found, said_by_flash
        self.address = os.environ.get("MPOTA_TEST_HOST") or found[1]
        self.said: list[str] = []
        self.sequence = 1
        self._connection = open_port(PORT)
        self._is_over = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        self._connection.close()

    def _read(self) -> None:
        for line in lines(self._connection):
            if self._is_over:
                return
            if line:
                self.said.append(line)

    def wait_for(self, pattern: str, start: int, timeout_s: float = 120) -> str:
        """Wait for a line from number *start* on in which *pattern* is found."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self.said[start:]:
                if re.search(pattern, line):
                    return line
            time.sleep(0.1)
        last = "\n".join(self.said[-25:])
        raise TimeoutError(f"the board never said {pattern!r}; it said:\n{last}")

    def next_image(self, source: str = APP, filler_bytes: int = 0) -> bytes:
        """Return an image of the next release, with a file of *filler_bytes*."""
        self.sequence += 1
        code = source.format(version=self.sequence).encode()
        files = {"app.py": code, "filler.bin": os.urandom(filler_bytes)}
        return small_image(str(self.sequence), self.sequence, files)

    def upload(self, image: bytes, **options: object) -> None:
        """Send *image* as `mpota upload` does. Raises UploadError."""
        arduino.upload(image, **{"board_ip": self.address, "password": PASSWORD} | options)

    def reset(self) -> None:
        """Reset the board by the adapter's RTS. Raises OSError where it has none."""
        press_reset(self._connection)


@pytest.fixture(scope="session")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(APP.format(version=1))
    (folder / "pyproject.toml").write_text(
        '[tool.mpota]\nname = "small"\nversion = "1"\nsequence = 1\n'
    )
    (folder / "settings.toml").write_text("confirm_s = 1\n")
    command = [
        sys.executable, "-m", "mpota", "flash", "--port", PORT, "--app", str(folder),
        "--settings", str(folder / "settings.toml"), "--hostname", "mpota-test",
        "--ssid", os.environ.get("MPOTA_WIFI_SSID", ""),
    ]  # fmt: skip
    if firmware := os.environ.get("MPOTA_TEST_FIRMWARE"):
        command += ["--firmware", firmware]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env=os.environ | {"MPOTA_PASSWORD": PASSWORD},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    board = RealBoard(done.stdout)
    yield board
    board.close()
