"""A simulated board on a serial port that can be unplugged, and the tool that flashes it."""

import os
import subprocess
import sys
from pathlib import Path

from boards import own_ip
from mpota.board.firmware_file import check_firmware
from mpota.sim import Board
from mpota.sim.firmware import stand_in_firmware
from mpota.sim.serial_port import SerialPort

MIB = 1024 * 1024
FIRMWARE = stand_in_firmware()


def firmware():
    """Return the stand-in firmware, as `mpota flash` reads and checks it."""
    return check_firmware(FIRMWARE, "firmware.bin")


class SerialBoard:
    """A board whose flash is full of `content` at first; `port` is the path of its adapter."""

    def __init__(
        self,
        folder: Path,
        mib: float = 2,
        content: bytes = b"\xff",
        fastest_baud: int | None = None,
        has_lines: bool = False,
        **options: object,
    ) -> None:
        self.folder = folder
        self.flash = folder / "flash.img"
        self.flash.write_bytes(content * (int(mib * MIB) // len(content)))
        self.port = folder / "ttyUSB0"
        self.adapter = SerialPort(self.port, fastest_baud=fastest_baud, has_lines=has_lines)
        self.board = Board(self.flash, ip=own_ip(), port=self.adapter, **options)
        self.firmware = folder / "firmware.bin"
        self.firmware.write_bytes(FIRMWARE)

    def __enter__(self) -> "SerialBoard":
        self.board.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.board.stop()
        self.adapter.close()

    def start(self, command: str, *arguments: object, **environment: str) -> subprocess.Popen:
        """Start an mpota command for this port."""
        return subprocess.Popen(
            [sys.executable, "-m", "mpota", command, *map(str, arguments), "--port", self.port],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"COLUMNS": "200"} | environment,
        )  # fmt: skip

    def run(
        self,
        command: str,
        *arguments: object,
        status: int = 0,
        typed: str = "",
        **environment: str,
    ) -> str:
        """Run an mpota command for this port, *typed* its input, and return what it says."""
        with self.start(command, *arguments, **environment) as process:
            said, _ = process.communicate(typed, timeout=120)
        assert process.returncode == status, said
        return said

    def flash_it(self, *arguments: object, status: int = 0, **environment: str) -> str:
        """Run `mpota flash` with the stand-in firmware and a network."""
        given = ["--firmware", self.firmware, "--ssid", "garden", "--hostname", "valve"]
        return self.run("flash", *given, *arguments, status=status, **environment)


class Report:
    """Collects what set_up() tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.phases: list[tuple[str, int, int]] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)

    board_line = tell

    def progress(self, phase: str, done: int, total: int) -> None:
        self.phases.append((phase, done, total))
