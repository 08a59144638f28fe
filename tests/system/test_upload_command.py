"""`mpota upload` as a user runs it: the promises and the advice in its lines are true."""

import gzip
import subprocess
import sys

import pytest
from device import FAILED, REFUSED, Device
from handmade import tar_of_mpota_1
from mpota.arduino.outcomes import WrongPasswordError

pytestmark = pytest.mark.parallel


def upload(device, *arguments):
    """Run the command; return the finished process."""
    command = [sys.executable, "-m", "mpota", "upload", "-i", device.board.ip, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def refused(device, advice, *arguments):
    """Run the command, which the board refuses; its one line has the `advice`."""
    start = device.said
    done = upload(device, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: ") and advice in done.stderr
    device.board.wait_for(f"{FAILED}|{REFUSED}", start=start)


def taken(device, *arguments):
    """Run the command; the board installs and confirms the release."""
    start = device.said
    assert upload(device, *arguments).returncode == 0
    device.confirmed(start)


def test_an_application_is_not_sent_as_data(device, tmp_path):
    path = tmp_path / "x.img"
    path.write_bytes(device.next_image())
    done = upload(device, "-s", path)
    assert done.returncode == 1 and "it is an application image, not data" in done.stderr
    taken(device, path)


def test_what_is_no_application_image_is_refused_with_advice_and_the_image_taken(device, tmp_path):
    image, path = device.next_image(), tmp_path / "x.bin"
    zeros, page = gzip.compress(bytes(4000)), b"<!doctype html>" * 100
    for content, words in ((zeros, "send what"), (page, "a text; send what")):
        path.write_bytes(content)
        advice = "the image that 'mpota pack' made of it (the board said: ERROR[10]: Not an "
        refused(device, f"{advice}application image: {words}", path)
    path.write_bytes(tar_of_mpota_1())
    done = upload(device, path)
    assert done.returncode == 1 and done.stderr.endswith("pack the application again\n")
    path.write_bytes(image)
    taken(device, path)


def test_a_strangers_guesses_bring_no_classic_handshake_about(tmp_path):
    with Device(tmp_path, password="secret") as device:
        path = tmp_path / "x.img"
        path.write_bytes(device.next_image())
        for _ in range(4):  # after these, the board waits for 4 s before its next answer
            device.fails(path.read_bytes(), WrongPasswordError, password="guess")
        start = device.said
        done = upload(device, path, "--classic", "-a", "secret")
        assert "handshake: SHA-256, password proven" in done.stdout
        assert (done.returncode, done.stderr) == (0, "")
        device.confirmed(start)
