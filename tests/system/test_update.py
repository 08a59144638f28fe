"""The good way: a new version over the air, tried, confirmed, and the next one after it."""

import hashlib

import boards
import pytest
from device import APP, Device
from mpota import arduino, image
from mpota.board.files import device_files
from mpota.image.directory import pack_directory
from mpota.sim import Board
from mpota.sim.rom import ARCHITECTURE

pytestmark = pytest.mark.parallel

ASYNC_APP = """
import asyncio

async def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    print("app {version} runs")
    while True:
        await asyncio.sleep_ms(20)
"""
GARDEN_1, GARDEN_2 = (pack_directory(boards.GARDEN / v).data for v in ("1.0.0", "2.0.0"))
PASSWORD_HASH = hashlib.md5(b"secret").hexdigest()


@pytest.mark.parametrize("app", [APP, ASYNC_APP], ids=["plain", "async"])
@pytest.mark.parametrize("then", [APP, ASYNC_APP], ids=["plain", "async"])
def test_one_update_after_another_is_installed_and_confirmed(tmp_path, app, then):
    with Device(tmp_path, app) as device:
        for source in (then, app, then):
            device.update(device.next_image(source))
        assert device.board.violation == ""
        assert "/.ota/staging" not in device.files()


@pytest.mark.parametrize(
    ("settings", "auth"),
    [({"password": "secret"}, "classic"), ({"password": "secret"}, "strict"),
     ({"password_hash": PASSWORD_HASH}, "classic"),
     ({"password_hash": PASSWORD_HASH.upper()}, "classic"),
     ({"password_hash": PASSWORD_HASH, "password": "no"}, "classic")],
    ids=["classic", "strong", "hash", "hash in capitals", "hash rather than password"],
)  # fmt: skip
def test_an_update_with_the_password(tmp_path, settings, auth):
    with Device(tmp_path, **settings) as device:
        start = device.said
        device.upload(device.next_image(), password="secret", auth=auth)
        device.confirmed(start)


@pytest.mark.parametrize("name", ["app/__init__.py", "lib/app.py"])
def test_an_application_may_be_a_package_or_lie_in_lib(device, name):
    device.sequence += 1
    source = APP.replace("{version}", str(device.sequence)).encode()
    files = {name: source, "notes.txt": b"x" * 5000}
    device.update(image.build(name="small", version="9", sequence=device.sequence, files=files))
    device.takes_an_update()


def test_the_slot_holds_exactly_the_files_of_the_image(device):
    files = {"lib/a.py": b"a = 1\n", "data/deep/er.bin": bytes(range(256)) * 40, "empty": b""}
    device.update(device.next_image(files=files))
    found = device.files()
    for name, content in files.items():
        slot = next(n for n in "ab" if f"/.ota/{n}/{name}" in found)
        assert found[f"/.ota/{slot}/{name}"] == content
    device.update()
    device.update()
    assert not [name for name in device.files() if name.endswith("er.bin")]
    device.takes_an_update()


def test_an_update_may_bring_its_own_copy_of_this_package(device):
    package = {
        name.lstrip("/"): code
        for name, code in device_files(ARCHITECTURE).items()
        if name.startswith("/lib/ota/")
    }
    source = APP.replace("def main(ota):", "import ota as package\n\ndef main(ota):")
    source = source.replace('    print("app', '    print(package.__file__)\n    print("app')
    start = device.said
    device.update(device.next_image(source, package))
    device.board.wait_for(r"^/\.ota/[ab]/lib/ota/__init__\.mpy$", start=start)
    device.takes_an_update()


def test_the_example_garden_is_updated_with_its_valve_shut_first(tmp_path):
    board = boards.board_with(tmp_path, GARDEN_1, confirm_s=0.1)
    with board:
        board.wait_for("garden 1.0.0: watering")
        board.wait_for("listens on port")
        arduino.upload(GARDEN_2, board_ip=board.ip)
        board.wait_for("is confirmed")
        board.wait_for("garden 2.0.0: watering by schedule")
        shut = board.lines.index("garden: valve shut for the update")
        assert shut < next(i for i, line in enumerate(board.lines) if "bytes announced" in line)
        assert board.violation == ""


def test_without_reboot_on_success_the_next_reset_installs_what_is_staged(tmp_path):
    with Device(tmp_path, reboot_on_success=False) as device:
        for _ in range(2):  # the second takes the place of the first
            start = device.said
            device.upload(device.next_image())
            device.board.wait_for("update ended", start=start)
        assert device.board.boots == 1
        start = device.said
        device.board.reset()
        device.confirmed(start)
        assert not any("app 2 runs" in line for line in device.board.lines)


def test_a_failed_upload_discards_what_was_staged_before_it(tmp_path):
    with Device(tmp_path, reboot_on_success=False) as device:
        device.upload(device.next_image())
        device.board.wait_for("update ended")
        device.refuses(b"M" + bytes(2000), 37)
        start = device.said
        device.board.reset()
        device.board.wait_for("app 1 runs", start=start)


def test_a_keeper_that_starts_again_goes_on_with_the_same_flash(tmp_path):
    with Device(tmp_path) as device:
        device.update()
        flash = device.board.flash
    with Board(flash, ip=boards.own_ip()) as device.board:
        device.board.wait_for("app 2 runs")
        device.board.wait_for("listens on port")
        device.takes_an_update()
