"""A board takes a new application over the air: run by `make demo`.

Starts a simulated ESP8266 with garden 1.0.0, and uploads 2.0.0 to it with `mpota upload`, which
waits until the board has tried and confirmed it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from mpota import image
from mpota.board.files import boot_files, first_record, settings_file, system_rom
from mpota.board.flash import read_slot
from mpota.errors import CommandError
from mpota.image.directory import pack_directory
from mpota.sim import Board, create_flash
from mpota.sim.address import check_address
from mpota.sim.rom import ARCHITECTURE

GARDEN = Path(__file__).parent / "garden"
IP = "127.0.0.2"
# In the field a version must be healthy for a minute before it is confirmed.
SETTINGS = {"ssid": "simulated", "confirm_s": 3}


def main() -> int:
    check_address(IP)
    old = pack_directory(GARDEN / "1.0.0").data
    files = boot_files() | settings_file(SETTINGS) | first_record(old)
    with tempfile.TemporaryDirectory() as folder:
        flash = Path(folder, "board.img")
        create_flash(flash, files, system=system_rom(ARCHITECTURE), slots={"a": old})
        say("a simulated ESP8266 with garden 1.0.0 is switched on")
        board = Board(flash, ip=IP, on_line=lambda line: say(line, "  board| "))
        with board:
            board.wait_for("listens on port")
            board.wait_for("garden 1.0.0: watering")
            say("mpota upload examples/garden/2.0.0 -i " + IP)
            command = [sys.executable, "-m", "mpota", "upload", str(GARDEN / "2.0.0"), "-i", IP]
            if subprocess.run(command, check=False).returncode != 0:
                return 1
        slot = read_slot(flash, "b")
    if board.violation or not slot.accepted or image.read(slot.image).manifest.version != "2.0.0":
        return 1
    say("updated: garden 1.0.0 -> 2.0.0, confirmed", mark="")
    return 0


def say(text: str, mark: str = "== ") -> None:
    """Print a line of a demonstration. The board's lines are printed by another thread."""
    sys.stdout.write(f"{mark}{text}\n")  # in one piece, so that lines do not mix
    sys.stdout.flush()


def end_with(demonstration: Callable[[], int]) -> NoReturn:
    """Run a demonstration, and end the process with its status, or with an error in one line."""
    try:
        sys.exit(demonstration())
    except (TimeoutError, CommandError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    end_with(main)
