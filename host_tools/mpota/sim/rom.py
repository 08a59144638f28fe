"""The ROM of the simulated board: its own modules, compiled, in MicroPython's ROMFS format."""

import atexit
import functools
import re
import tempfile
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from mpota.compile import compile_module
from mpota.short_names import pairs, with_short_names
from mpota.sim.rom_modules import control

_SOURCES = Path(__file__).parent / "rom_modules"

# Names that only these modules use, see mpota/short_names.py: the chip's own, in C, have none.
_IN_FIRMWARE = pairs("""
    attribute=acos call=addressof down=appendleft hz=atan interface=atan2 len_or_buf=b2a_base64
    level=blit load=bound_method look_up=bytearray_at new=byteorder offset=calcsize
    op=call_exception_handler option=ceil proto=closure request=copysign run_timers=cos
    scripts=current_task sector=degrees state=dict_view table=difference_update
""")

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
        text = with_short_names(_with_numbers(source.read_text()), _IN_FIRMWARE)
        code = compile_module(text, f"/rom/{name}", ARCHITECTURE)
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
