"""The ROM of the simulated board: its own modules, compiled, in MicroPython's ROMFS format."""

import atexit
import functools
import tempfile
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from mpota.image.compile import compile_module

SOURCES = Path(__file__).parent / "rom_modules"

# The interpreter that the board runs in.
ARCHITECTURE = "x64"


@functools.cache
def build_rom() -> Path:
    """Build the ROM once in this process; its file is there until the process ends."""
    writer = VfsRomWriter()
    for source in sorted(SOURCES.glob("*.py")):
        if source.stem != "__init__":
            name = f"{source.stem}.mpy"
            writer.mkfile(name, compile_module(source.read_text(), f"/sim/{name}", ARCHITECTURE))
    with tempfile.NamedTemporaryFile(prefix="mpota-", suffix=".rom", delete=False) as file:
        file.write(writer.finalise())
    path = Path(file.name)
    atexit.register(path.unlink, missing_ok=True)
    return path
