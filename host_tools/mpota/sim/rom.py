"""The ROM of the simulated board: its own modules, compiled, in MicroPython's ROMFS format."""

import atexit
import functools
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from mpremote.romfs import VfsRomWriter

from mpota.image.bytecode import names_in
from mpota.image.compile import compile_module
from mpota.sim.rom_modules import control

_SOURCES = Path(__file__).parent / "rom_modules"

# The interpreter that the board runs in.
ARCHITECTURE = "x64"


class Rom(NamedTuple):
    """A file with the ROM's image, and all names that its modules use or know."""

    path: Path
    names: list[str]


@functools.cache
def build_rom() -> Rom:
    """Build the ROM once in this process; its file is there until the process ends."""
    writer = VfsRomWriter()
    names: set[str] = set()
    for source in sorted(_SOURCES.glob("*.py")):
        if source.stem in ("__init__", "control"):
            continue
        name = f"{source.stem}.mpy"
        text = source.read_text()
        code = compile_module(_with_numbers(text), f"/rom/{name}", ARCHITECTURE)
        writer.mkfile(name, code)
        # With those that power.look_up() knows.
        names |= {
            source.stem,
            *names_in(code),
            *re.findall(r"[ \"]([A-Za-z]\w*)=[a-z0-9]+(?=[ \"])", text),
        }
    with tempfile.NamedTemporaryFile(prefix="mpota-", suffix=".rom", delete=False) as file:
        file.write(writer.finalise())
    path = Path(file.name)
    atexit.register(path.unlink, missing_ok=True)
    return Rom(path, sorted(names))


def _with_numbers(source: str) -> str:
    # The layout of the control page as plain numbers, and const() for the compiler alone: a module
    # of names would take up heap that the board's own code has on the chip.
    source = source.replace("import control\n", "").replace("from micropython import const\n", "")
    return re.sub(r"\bcontrol\.([A-Z_]+)", lambda m: str(getattr(control, m[1])), source)
