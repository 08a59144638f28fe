"""How large the interpreter's heap must be, so that a board's code finds one of the size asked for.

The firmware's modules are in the chip's flash; the simulated board's own take up heap, though their
code runs in place.
"""

import functools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from mpota.board.flash import create_flash
from mpota.errors import CommandError
from mpota.sim.board_process import BoardProcess
from mpota.sim.boots import ENVIRONMENT
from mpota.sim.control_page import ControlPage
from mpota.sim.rom_modules import control

# Of code that runs in place only objects are in the heap, and they are made of words: of 8 bytes
# here and of 4 on the chip. A build of the interpreter for 32 bits took 7.1 KB where this one took
# 14.4. (A board's whole heap is 56 KiB here, less than twice 38, since applications have data too.)
BYTES_PER_CHIP_BYTE = 2

_IN_USE = "import gc\ngc.collect()\nprint('in use', gc.mem_alloc())\n"
_ROOMY_BYTES = 256 * 1024


def size_in_bytes(size: str) -> int:
    """Return *size*, a text such as 56k in `micropython -X heapsize=56k`, in bytes.

    Raises ValueError.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,8})([km]?)", size)
    if not found:
        raise ValueError(f"{size} is not a size like 56k")
    return int(found[1]) << {"": 0, "k": 10, "m": 20}[found[2]]


@functools.cache
def own_bytes() -> int:
    """Return how much more heap a board uses just before boot.py than a bare interpreter.

    The same script measures both, once in this process.
    """
    bare = subprocess.run(
        [sys.executable, "-m", "micropython_unix", "-X", f"heapsize={_ROOMY_BYTES}", "-c", _IN_USE],
        capture_output=True, check=True, text=True, env=ENVIRONMENT,
    ).stdout  # fmt: skip
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        process.kill()

    with tempfile.TemporaryDirectory(prefix="mpota-") as folder:
        flash = Path(folder, "flash.img")
        create_flash(flash, {"/boot.py": _IN_USE.encode()})
        page = ControlPage()
        page[control.CUT_AFTER] = control.NEVER
        process = BoardProcess(flash, page, _ROOMY_BYTES, 0, ("boot.py",), say)
        process.run()
    if not said or not said[0].startswith("in use"):
        raise CommandError(f"the simulated board cannot start: {' '.join(said)}")
    return int(said[0].split()[-1]) - int(bare.split()[-1])
