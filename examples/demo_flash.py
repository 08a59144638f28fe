"""A blank board is flashed over serial and updated over the air: run by `make demo-flash`.

Connects a simulated ESP8266 that nobody has flashed to a serial port, a pseudo-terminal; runs
`mpota flash` for it, then `mpota upload`, and ends with status 0 when the board has confirmed the
version that came over the air. MicroPython's firmware is a stand-in: nothing is downloaded.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from demo import GARDEN, IP, end_with, say
from mpota import image
from mpota.board.flash import FLASH_SIZE_BYTES, read_slot
from mpota.sim import Board
from mpota.sim.address import check_address
from mpota.sim.firmware import stand_in_firmware
from mpota.sim.serial_port import SerialPort

PASSWORD = "shown in a demonstration only"


def main() -> int:
    check_address(IP)
    with tempfile.TemporaryDirectory() as folder:
        flash, firmware = Path(folder, "board.img"), Path(folder, "stand-in.bin")
        flash.write_bytes(b"\xff" * FLASH_SIZE_BYTES)
        firmware.write_bytes(stand_in_firmware())
        settings = Path(folder, "settings.toml")
        # In the field a version must be healthy for a minute before it is confirmed.
        settings.write_text('ssid = "simulated"\nhostname = "valve"\nconfirm_s = 3\n')
        port = SerialPort()
        say(f"a blank simulated ESP8266 is plugged in at {port.name}")
        is_plugged = [True]  # meanwhile `mpota flash` shows what the board says
        board = Board(
            flash, ip=IP, port=port, boot_mode=True,
            on_line=lambda line: None if is_plugged else say(line, "  board| "),
        )  # fmt: skip
        with board:
            if not mpota("flash", "--port", port.name, "--firmware", str(firmware),
                         "--settings", str(settings), "--app", str(GARDEN / "1.0.0")):  # fmt: skip
                return 1
            say("the cable is pulled: from here on the board is updated over the air")
            port.unplug()
            is_plugged.clear()
            start = len(board.lines)
            if not mpota("upload", str(GARDEN / "2.0.0"), "-i", IP):
                return 1
            board.wait_for("garden 2.0.0: watering", start=start)
            board.wait_for("slot b is confirmed", start=start)
        port.close()
        slot = read_slot(flash, "b")
    if slot.image is None or image.read(slot.image).manifest.version != "2.0.0":
        return 1
    say("flashed over serial, updated over the air: garden 2.0.0 is confirmed", mark="")
    return 0


def mpota(*command: str) -> bool:
    """Run a command of mpota; return whether it was successful."""
    say(f"mpota {' '.join(command)}")
    environment = os.environ | {"MPOTA_PASSWORD": PASSWORD}
    done = subprocess.run([sys.executable, "-m", "mpota", *command], check=False, env=environment)
    return done.returncode == 0


if __name__ == "__main__":
    end_with(main)
