"""Boards ask hawkBit, here goosebit, which speaks the same: run by `make demo-hawkbit`.

Starts goosebit and three simulated boards with garden 1.0.0. Release 2.0.0 is rolled out to all of
them, and confirmed; 3.0.0, which is broken, to one, which takes it back, and shows as failed with
the reason.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from demo import GARDEN, say
from demo_pull import changed
from goosebit_server import Goosebit
from mpota.board.files import boot_files, first_record, settings_file, system_rom
from mpota.errors import CommandError
from mpota.image.directory import pack_directory
from mpota.sim import Board, create_flash
from mpota.sim.address import check_address
from mpota.sim.rom import ARCHITECTURE

BOARDS = {"valve-1": "127.0.0.2", "valve-2": "127.0.0.3", "valve-3": "127.0.0.4"}
# goosebit rolls out by feeds; a device that it has not been told of is in "default".
TRIED_FIRST = "valve-3"
TOKENS = {name: f"{name}-0123456789abcdef" for name in BOARDS}
# In the field a version must be healthy for a minute.
SETTINGS = {"ssid": "simulated", "confirm_s": 1}

_PATIENCE_S = 120


def main(folder: Path) -> int:
    for ip in BOARDS.values():
        check_address(ip)
    with contextlib.ExitStack() as stack:
        say("goosebit is started; it takes boards by the tokens that it has been told")
        server = stack.enter_context(Goosebit(folder / "goosebit", sleep="00:00:01", auth="strict"))
        for name, token in TOKENS.items():
            server.set(name, auth_token=token)
        boards = [a_board(stack, folder, name, server.url) for name in BOARDS]
        wait(server, "the boards have told what they are", lambda device: device["sw_version"])
        show(server)

        rollout = server.roll_out(upload(server, GARDEN / "2.0.0", "garden-2.0.0.img"))
        wait(server, "the roll-out is over", lambda device: device["last_state"] == "Finished")
        show(server)
        if server.rollout(rollout)["success_count"] != len(BOARDS):
            return 1

        broken = changed(folder / "broken", "3.0.0", 3)
        (broken / "app.py").write_text('def main(ota):\n    raise OSError("broken on purpose")\n')
        say(f"{TRIED_FIRST} is put into the feed tried-first")
        server.set(TRIED_FIRST, feed="tried-first")
        rollout = server.roll_out(upload(server, broken, "garden-3.0.0.img"), "tried-first")
        wait(server, "the roll-out is over", lambda _: server.rollout(rollout)["failure_count"])
        show(server)
        log = server.log(TRIED_FIRST)
        say(f"goosebit's log of {TRIED_FIRST}:")
        for line in log.splitlines():
            say(line, mark="  ")
        devices = server.devices()
        versions = {device["sw_version"] for device in devices.values()}
        is_told = "taken back: 3: raised OSError: broken on purpose" in log
        if versions != {"2.0.0"} or devices[TRIED_FIRST]["last_state"] != "Error" or not is_told:
            return 1
        boards[-1].wait_for("garden 2.0.0: watering")
        if any(board.violation for board in boards):
            return 1
    say("garden 2.0.0 runs on all three; 3.0.0 was taken back, and shows as failed", mark="")
    return 0


def a_board(stack: contextlib.ExitStack, folder: Path, name: str, url: str) -> Board:
    """Switch on a simulated ESP8266 with garden 1.0.0 that asks *url* as *name*."""
    say(f'a simulated ESP8266 with garden 1.0.0, "ddi_url": "{url}", "ddi_id": "{name}"')
    data = pack_directory(GARDEN / "1.0.0").data
    settings = {"hostname": name, "ddi_url": url, "ddi_id": name, "update_interval_s": 1}
    settings["ddi_target_token"] = TOKENS[name]
    files = boot_files() | settings_file(SETTINGS | settings) | first_record(data)
    flash = folder / f"{name}.img"
    create_flash(flash, files, system=system_rom(ARCHITECTURE), slots={"a": data})

    def tell(line: str) -> None:
        if any(word in line for word in ("ddi:", "trial:", "watering", "boot: slot")):
            say(line, f"  {name}| ")

    return stack.enter_context(Board(flash, ip=BOARDS[name], on_line=tell))


def upload(server: Goosebit, application: Path, name: str) -> int:
    """Pack the release in *application* and upload it to *server*; return its number there."""
    say(f"mpota pack {application.name} -o {name}; it is uploaded to goosebit, and rolled out")
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, name)
        command = [sys.executable, "-m", "mpota", "pack", str(application), "-o", str(packed)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return server.upload(packed.read_bytes(), name)


def show(server: Goosebit) -> None:
    """Print what goosebit knows of its devices."""
    for name, device in sorted(server.devices().items()):
        say(f"{name}  {device['sw_version']}  {device['last_state']}", mark="  ")


def wait(server: Goosebit, what: str, condition: Callable[[dict], object]) -> None:
    """Wait until *condition* holds of every device, and say *what* it is then."""
    deadline = time.monotonic() + _PATIENCE_S
    while not all(condition(device) for device in server.devices().values()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come to this: {what}")
        time.sleep(0.2)
    say(what)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mpota-hawkbit-") as name:
        try:
            sys.exit(main(Path(name)))
        except (TimeoutError, CommandError, subprocess.CalledProcessError) as error:
            sys.exit(f"error: {error}")
