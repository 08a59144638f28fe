"""Which releases a board takes: of its own kind, not too far ahead, and older only if allowed."""

import subprocess
import sys

import boards
import pytest
from device import APP, Device
from handmade import image_with, manifest_text
from mpota.board.files import settings_file
from mpota.image.manifest import SEQUENCE_LIMIT
from raw_host import PASSWORD, RawHost

pytestmark = pytest.mark.parallel

BELOW_FLOOR, WRONG_BOARD, JUMP, WRONG_APP = 36, 41, 43, 44
LARGEST_JUMP = 1_000_000


def release(sequence, **lines):
    """Return a release of the device's application, with other *lines* in its MANIFEST."""
    source = APP.replace("{version}", str(sequence)).encode()
    return image_with(manifest_text(sequence, **lines), {"app.py": source})


# Releases that are too far ahead


def test_a_release_too_far_ahead_is_refused_and_the_farthest_is_taken(device):
    with device.unharmed():
        device.refuses(release(device.sequence + LARGEST_JUMP + 1), JUMP)
        device.refuses(release(SEQUENCE_LIMIT), JUMP)
    device.sequence += LARGEST_JUMP
    device.update(device.image())
    assert device.record.floor == device.sequence


# Releases for another application or board


def test_a_release_of_another_application_is_refused(tmp_path):
    with Device(tmp_path, password=PASSWORD) as device, device.unharmed():
        for name in (b"other", b"Small", b"small2", b"smal", b"*"):
            device.refuses(release(2, name=b"name " + name), WRONG_APP)


@pytest.mark.parametrize("allowed", ["*", "other"])
def test_the_setting_app_allows_another_application(tmp_path, allowed):
    with Device(tmp_path) as device:
        settings = settings_file(boards.SETTINGS | {"confirm_s": 0.1, "app": allowed})
        start = device.change_files(lambda files: files.update(settings))
        device.board.wait_for("listens", start=start)
        device.sequence += 1
        device.update(release(2, name=b"name other"))
        if allowed == "other":
            device.refuses(release(3), WRONG_APP)


def test_a_release_for_another_board_or_bytecode_is_refused_and_costs_no_slot(tmp_path):
    with Device(tmp_path, password=PASSWORD) as device:
        device.update()
        with device.unharmed():
            before = device.slot(device.idle)
            for line in ("board esp32", "board ESP8266", "mpy 6.2", "mpy 7.3", "mpy 6.30"):
                lines = {line.split()[0]: line.encode()}
                device.refuses(release(3, **lines), WRONG_BOARD)
            assert device.slot(device.idle) == before


def test_a_release_need_not_say_for_which_board_it_is(device):
    device.sequence += 1
    device.update(release(device.sequence, board=None, mpy=None))
    device.takes_an_update()


# Older releases


def mpota(*arguments):
    """Run the command as a user does."""
    command = [sys.executable, "-m", "mpota", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def packed(folder, sequence, *options):
    """Let `mpota pack` make a release of that number; return the file."""
    directory, file = folder / "old", folder / "old.img"
    directory.mkdir(exist_ok=True)
    (directory / "app.py").write_text(APP.replace("{version}", str(sequence)))
    facts = ["--name", "small", "--version", sequence, "--sequence", sequence]
    assert mpota("pack", directory, "-o", file, *facts, *options).returncode == 0
    return file


def test_an_older_release_is_taken_where_the_image_and_the_board_allow_it(tmp_path):
    with Device(tmp_path, allow_downgrade=True) as device:
        device.update()
        device.update()
        device.refuses(packed(tmp_path, 2).read_bytes(), BELOW_FLOOR)
        old = packed(tmp_path, 2, "--allow-downgrade")
        start = device.said
        uploaded = mpota("upload", old, "-i", device.board.ip)
        assert uploaded.returncode == 0, uploaded.stderr
        device.sequence = 2
        device.confirmed(start)
        # The older release has not lowered the floor.
        assert device.record.floor == 3
        start = device.said
        device.refuses(packed(tmp_path, 1).read_bytes(), BELOW_FLOOR)
        device.sequence = 3
        device.takes_an_update()


def test_an_older_release_is_refused_by_a_board_that_does_not_allow_it(tmp_path):
    with Device(tmp_path) as device:
        device.update()
        device.update()
        with device.unharmed():
            start = device.said
            old = packed(tmp_path, 2, "--allow-downgrade")
            uploaded = mpota("upload", old, "-i", device.board.ip)
            assert uploaded.returncode == 1
            assert "this release is older than what the board accepts" in uploaded.stderr
            assert f"ERROR[{BELOW_FLOOR}]" in uploaded.stderr
            device.board.wait_for("update failed, code 4", start=start)


def test_a_host_without_the_tool_is_told_the_same(tmp_path):
    with Device(tmp_path) as device, RawHost(device.board.ip) as host:
        old = device.image()
        device.update()
        host.begin(old)
        host.send(old)
        assert host.result() == f"ERROR[{BELOW_FLOOR}]: Release is older than the floor: 1 < 2"
