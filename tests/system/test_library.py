"""OTA in a program that keeps its own main.py, as README has it."""

import pytest
from device import Device
from mpota.sim import create_flash

pytestmark = pytest.mark.parallel

# README, "Your application"
LOOP = """
from ota import OTA; ota = OTA(); ota.begin()
print("own main.py")
while True:
    ota.handle()
"""
TASK = """
import asyncio
from ota import OTA; ota = OTA(); ota.begin()

async def main():
    print("own main.py")
    await ota.run()

asyncio.run(main())
"""
# What a release brings is there to be imported, as it is for an application of a slot.
IMPORTING = LOOP.replace("print(", "import release\nprint('release', release.number)\nprint(")


def with_main(folder, program):
    """Give a board, switched off, that has *program* as its main.py."""
    device = Device(folder)
    files = device.files() | {"/main.py": program.encode(), "/.ota/a/release.py": b"number = 1\n"}
    create_flash(device.board.flash, files)
    return device


@pytest.mark.parametrize("program", [LOOP, TASK], ids=["handle", "run"])
def test_a_program_with_its_own_main_takes_an_update(tmp_path, program):
    with with_main(tmp_path, program) as device:
        for release in (2, 3):
            start = device.said
            data = device.next_image()
            device.upload(data)
            installed = device.board.wait_for(rf"small {release} is in slot (\w)", start=start)
            device.board.wait_for("own main.py", start=start)
            device.board.wait_for(f"slot {installed[1]} is confirmed", start=start)
            assert not any("watchdog" in line for line in device.board.lines[start:])
            assert device.files()["/main.py"] == program.encode()
        assert device.board.violation == ""


def test_a_program_with_its_own_main_finds_what_its_release_brings(tmp_path):
    with with_main(tmp_path, IMPORTING) as device:
        device.board.wait_for("release 1")
        start = device.said
        device.upload(device.next_image(files={"release.py": b"number = 2\n"}))
        device.board.wait_for("release 2", start=start)
