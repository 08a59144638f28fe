"""One boot of the simulated board: its process, its serial port and its watchdog."""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from mpota.errors import CommandError
from mpota.sim import boots
from mpota.sim.boot_rom import SYNC_FRAME_START
from mpota.sim.boots import Boot
from mpota.sim.control_page import ControlPage
from mpota.sim.rom import build_rom
from mpota.sim.rom_modules import control
from mpota.sim.serial_port import SerialPort

_CHECK_S = 0.02


class BoardProcess:
    """The process that is the board from one reset to the next.

    The interpreter's heap has room for `heap_bytes`, and beside them for the `own_bytes` of the
    simulated board's modules. `say` is called with every line of the serial port, and all of its
    bytes go to and come from `port`, if there is one. `bitten` is whether the watchdog ended the
    process, `status` its exit status. If the process was ended because a program wants to talk to
    the boot ROM, `sync` holds that program's first bytes. Raises CommandError if there is no
    interpreter; `run` raises it if the process cannot become the board.
    """

    def __init__(
        self,
        flash: Path,
        page: ControlPage,
        heap_bytes: int,
        own_bytes: int,
        scripts: tuple[str, ...],
        say: Callable[[str], None],
        port: SerialPort | None = None,
    ) -> None:
        self.bitten = False
        self.sync = b""
        self.status: int | None = None
        self._last_line = ""
        self._page = page
        self._say = say
        self._port = port
        self._came = b""  # the last bytes from the port, which may begin a frame
        # Three bits for each block of 32 bytes (gc_setup_area() of MicroPython's py/gc.c).
        collector_bytes = own_bytes * 3 // 256
        self._boot = boots.start(
            Path(__file__).with_name("boot_server.py"),
            [
                str(flash.absolute()), str(build_rom()),
                str(heap_bytes + own_bytes + collector_bytes), str(own_bytes), *scripts,
            ],
            page.fd,
        )  # fmt: skip

    def kill(self) -> None:
        """End the process at once; harmless when it has ended."""
        self._boot.kill()

    def run(self) -> None:
        """Forward what it says until it ends, by itself, by the watchdog or by `kill`."""
        with self._boot as boot:
            self._watch(boot)
        self.status = boot.status
        if self.status == control.CANNOT_START:
            raise CommandError(f"the simulated board cannot start: {self._last_line}")

    def _watch(self, process: Boot) -> None:
        page, pending = self._page, b""
        fed, since = page[control.FED], time.monotonic()
        while True:
            if self._wait_for(process.stdout):
                chunk = process.stdout.read(65536)
                if chunk == b"":
                    break
                *lines, pending = (pending + (chunk or b"")).split(b"\n")
                for line in lines:
                    self._last_line = line.decode(errors="replace").rstrip("\r")
                    self._say(self._last_line)
                if self._port is not None:
                    self._port.write_text(chunk or b"")
            if self._port is not None and self._port.wait(0):
                self._take(self._port.read(), process)
            now = time.monotonic()
            if page[control.WATCHDOG] == 0 or page[control.FED] != fed:
                fed, since = page[control.FED], now
            elif not self.bitten and now - since > page[control.WATCHDOG] / 1000:
                self.bitten = True
                process.kill()
        if pending:
            self._say(pending.decode(errors="replace"))

    def _wait_for(self, output: IO[bytes]) -> bool:
        # Waits for a moment; returns whether there is something to read from the process.
        poll = select.poll()
        poll.register(output, select.POLLIN)
        if self._port is not None:
            self._port.register(poll)
        return any(fd == output.fileno() for fd, _ in poll.poll(_CHECK_S * 1000))

    def _take(self, data: bytes, process: Boot) -> None:
        # Passes on what was typed, unless a program wants to talk to the boot ROM.
        if self.sync:
            self.sync += data
            return
        came = self._came + data
        at = came.find(SYNC_FRAME_START)
        assert self._port is not None
        if at >= 0 and not self._port.has_lines:
            self.sync = came[at:]
            process.kill()
            return
        self._came = came[1 - len(SYNC_FRAME_START) :]
        with suppress(BlockingIOError, BrokenPipeError):  # typed too fast, or just as it ends
            os.write(process.stdin.fileno(), data)
