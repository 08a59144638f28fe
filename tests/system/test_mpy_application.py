"""An application that `mpota pack --mpy` compiled is installed, run and confirmed."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.parallel

TABLE = '[tool.mpota]\nname = "small"\nversion = "{sequence}"\nsequence = {sequence}\n'
# Says what it is from a module of its own, which is bytecode as well.
MAIN = """
import time
from lib.words import say

def main(ota):
    say({sequence}, __file__)
    while True:
        ota.handle()
        time.sleep_ms(2)
"""
WORDS = """
def say(sequence, file):
    print("app", sequence, "runs from", file, "and", __file__)
"""


def packed(folder, sequence, *options):
    """Run `mpota pack` on the application; give the image."""
    (folder / "app" / "lib").mkdir(parents=True)
    for name, text in {"pyproject.toml": TABLE, "app.py": MAIN, "lib/words.py": WORDS}.items():
        (folder / "app" / name).write_text(text.replace("{sequence}", str(sequence)))
    command = [sys.executable, "-m", "mpota", "pack", folder / "app", "-o", folder / "app.tar"]
    subprocess.run([*command, *options], check=True, timeout=60, capture_output=True)
    return (folder / "app.tar").read_bytes()


def test_a_compiled_application_is_installed_and_confirmed(device, tmp_path):
    device.sequence += 1
    start = device.said
    device.update(packed(tmp_path, device.sequence, "--mpy"))
    said = device.board.wait_for(r"runs from /\.ota/(\w)/(\S+) and /\.ota/(\w)/(\S+)$", start=start)
    slot = said[1]
    assert said.groups() == (slot, "app.mpy", slot, "lib/words.mpy")
    names = {name for name in device.files() if name.startswith(f"/.ota/{slot}/")}
    assert names == {f"/.ota/{slot}/{name}" for name in ("MANIFEST", "app.mpy", "lib/words.mpy")}
    assert b"\nmpy 6.3\n" in device.files()[f"/.ota/{slot}/MANIFEST"]
    device.takes_an_update()
