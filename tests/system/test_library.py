"""OTA in a program with its own main.py, as docs/APPLICATION.md describes it."""

import boards
import pytest
from device import Device

pytestmark = pytest.mark.parallel

# docs/APPLICATION.md describes such a program.
LOOP = """
from ota import OTA; ota = OTA(); ota.begin()
import release
print("own main.py, release", release.number)
while True:
    ota.handle()
"""
TASK = """
import asyncio
from ota import OTA; ota = OTA(); ota.begin()
import release

async def main():
    print("own main.py, release", release.number)
    await ota.run()

asyncio.run(main())
"""


def files(release):
    """Return what a release brings: it is there to be imported, as for an application of a slot."""
    return {"release.py": b"number = %d\n" % release}


def with_main(folder, program):
    """Return a board, switched off, that has *program* as its main.py."""
    device = Device(folder, files=files(1))
    boards.change_files(device.board.flash, lambda f: f.update({"/main.py": program.encode()}))
    return device


@pytest.mark.parametrize("program", [LOOP, TASK], ids=["handle", "run"])
def test_a_program_with_its_own_main_takes_updates_and_finds_what_they_bring(tmp_path, program):
    with with_main(tmp_path, program) as device:
        device.board.wait_for("own main.py, release 1")
        for release in (2, 3):
            start = device.said
            device.upload(device.next_image(files=files(release)))
            slot = device.board.wait_for(r"boot: slot (\w) on trial", start=start)[1]
            device.board.wait_for(f"own main.py, release {release}", start=start)
            device.board.wait_for(f"slot {slot} is confirmed", start=start)
            assert not any("watchdog" in line for line in device.board.lines[start:])
            assert device.files()["/main.py"] == program.encode()
        assert device.board.violation == ""


# Settings that a program passes replace those of the file. If one of them is wrong, the board
# still says so.
PASSING = LOOP.replace("OTA()", "OTA(hostname='passed', port=9000, step_ms='long')")


def test_a_program_may_pass_settings(tmp_path):
    with with_main(tmp_path, PASSING) as device:
        device.board.wait_for("passed listens on port 9000")
        device.board.wait_for("ota.json: step_ms must be a number: its default is used")
