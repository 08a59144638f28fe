"""The tests for a real board (`make test-board`), run with a simulated one."""

import os
import subprocess
import sys

from boards import ROOT
from serial_board import SerialBoard


def test_the_tests_for_a_real_board_pass_with_a_simulated_one(tmp_path):
    with SerialBoard(tmp_path) as board:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "tests/board"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
            env=os.environ | {
                "MPOTA_TEST_PORT": str(board.port), "MPOTA_TEST_FIRMWARE": str(board.firmware),
                "MPOTA_WIFI_SSID": "garden", "MPOTA_WIFI_KEY": "wifi-secret",
            },
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "7 passed, 1 skipped" in done.stdout, done.stdout
