"""Which releases a board takes: not too far ahead, of its own kind, and back only where allowed."""

import json
import struct
import subprocess
import sys

import pytest
import tars
from device import APP, Device
from mpota import image
from mpota.board.files import settings_file
from mpota.sim import create_flash
from raw_host import RawHost

pytestmark = pytest.mark.parallel

BELOW_FLOOR, FILES_DIFFER, WRONG_BOARD, JUMP, WRONG_APP = 36, 40, 41, 43, 44
LARGEST_JUMP = 1_000_000
FLOOR_AT = 12  # docs/SPEC.md, Boot record


def release(device, sequence, **facts):
    """Give a release of the application that a device runs, with other *facts* in its manifest."""
    source = APP.replace("{version}", str(sequence)).encode()
    facts = {"name": "small", "version": str(sequence), "files": {"app.py": source}} | facts
    return image.build(sequence=sequence, **facts)


def floor(device):
    return struct.unpack_from("<I", device.files()["/.ota/record"], FLOOR_AT)[0]


# Ahead


def test_a_release_too_far_ahead_is_refused_and_the_farthest_is_taken(device):
    with device.unharmed():
        device.refuses(release(device, device.sequence + LARGEST_JUMP + 1), JUMP)
        device.refuses(release(device, image.SEQUENCE_LIMIT), JUMP)
    device.sequence += LARGEST_JUMP
    device.update(device.image())
    assert floor(device) == device.sequence


# Of another kind


def test_a_release_of_another_application_is_refused(device):
    with device.unharmed():
        for name in ("other", "Small", "small2", "smal"):
            device.refuses(release(device, device.sequence + 1, name=name), WRONG_APP)


@pytest.mark.parametrize("allowed", ["*", "other"])
def test_the_setting_app_allows_another_application(tmp_path, allowed):
    device = Device(tmp_path)
    files = device.files()
    settings = json.loads(files["/ota.json"]) | {"app": allowed}
    create_flash(device.board.flash, files | settings_file(settings))
    with device:
        device.sequence += 1
        device.update(release(device, 2, name="other"))
        if allowed == "other":
            device.refuses(release(device, 3), WRONG_APP)


@pytest.mark.parametrize(
    "facts",
    [{"board": "esp32"}, {"board": "ESP8266"}, {"mpy": "6.2"}, {"mpy": "7.3"}, {"mpy": "6.30"}],
    ids=lambda facts: " ".join(*facts.items()),
)
def test_a_release_for_another_board_or_bytecode_is_refused(device, facts):
    with device.unharmed():
        device.refuses(release(device, device.sequence + 1, **facts), WRONG_BOARD)


def test_the_version_of_bytecode_that_the_board_has_is_taken(device):
    device.sequence += 1
    device.update(release(device, device.sequence, mpy="6.3"))


# Put together from two


def members(data):
    """Split an image into its members, header and padding included, without the end."""
    found, at = [], 0
    while data[at]:
        size = int(data[at + 124 : at + 135], 8)
        end = at + 512 + -(-size // 512) * 512
        found.append(data[at:end])
        at = end
    return found


def test_a_release_with_a_file_of_another_one_is_refused(device):
    # Both are good by themselves, and the files of each pair are of the same length.
    one, other = (
        device.next_image(files={"lib/a.py": b"a = %d\n" % n, "lib/b.py": b"b = %d\n" % n})
        for n in (1, 2)
    )
    parts, others = members(one), members(other)
    assert len(parts) == len(others) == 4
    with device.unharmed():
        for i in range(4):
            mixed = b"".join([*parts[:i], others[i], *parts[i + 1 :]]) + tars.END
            assert mixed not in (one, other)
            device.refuses(mixed, FILES_DIFFER)
    device.update(device.next_image())


# Back


def mpota(*arguments):
    """Run the command as a user does."""
    command = [sys.executable, "-m", "mpota", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def packed(folder, sequence, *options):
    """Let `mpota pack` make a release of that number; give the file."""
    directory, file = folder / "old", folder / "old.tar"
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
        # The floor stays where it was.
        assert floor(device) == 3
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
