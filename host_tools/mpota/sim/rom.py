"""The ROM of the simulated board: its own modules, compiled, in MicroPython's ROMFS format."""

import atexit
import functools
import re
import tempfile
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from mpota.compile import compile_module
from mpota.sim.rom_modules import control

_SOURCES = Path(__file__).parent / "rom_modules"

# The interpreter that the board runs in.
ARCHITECTURE = "x64"


@functools.cache
def rom_path() -> Path:
    """Build the ROM once in this process; return a file that holds it until the process ends."""
    writer = VfsRomWriter()
    for source in sorted(_SOURCES.glob("*.py")):
        if source.stem in ("__init__", "control"):
            continue
        name = f"{source.stem}.mpy"
        code = compile_module(_with_numbers(source.read_text()), f"/rom/{name}", ARCHITECTURE)
        writer.mkfile(name, code)
    with tempfile.NamedTemporaryFile(prefix="mpota-", suffix=".rom", delete=False) as file:
        file.write(writer.finalise())
    path = Path(file.name)
    atexit.register(path.unlink, missing_ok=True)
    return path


def _with_numbers(source: str) -> str:
    # The layout of the control page as plain numbers: a module of names would take up heap that
    # the board's own code has on the chip.
    source = source.replace("import control\n", "")
    return re.sub(r"\bcontrol\.([A-Z_]+)", lambda m: str(getattr(control, m[1])), source)
