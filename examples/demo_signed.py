"""A board with a public key takes what its owner signed and nothing else: `make demo-signed`.

Makes a key, shows a tampered and an unsigned image refused and a signed one confirmed, and ends
with status 0 only if all of it came out so.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from demo import GARDEN, IP, SETTINGS, say
from mpota.board.files import application_files, device_files, settings_file
from mpota.image.directory import pack_directory
from mpota.sim import Board, create_flash, read_flash
from mpota.sim.rom import ARCHITECTURE

# What the board says to an image that it refuses for its signature, and for no other reason.
REFUSALS = {
    "tampered": r"ERROR\[12\]: Signature verification failed$",
    "unsigned": r"ERROR\[12\]: Signature verification failed: not signed$",
}


def main(folder: Path) -> int:
    say("mpota keygen: private.key stays with the application, public.key goes on the board")
    shutil.copytree(GARDEN / "2.0.0", folder / "garden")
    mpota("keygen", "-o", folder / "garden")
    mpota("pack", folder / "garden", "-o", folder / "signed.tar")
    signed = (folder / "signed.tar").read_bytes()
    changed = bytearray(signed)
    changed[1600] ^= 1  # in the application's code
    (folder / "tampered.tar").write_bytes(changed)
    (folder / "unsigned.tar").write_bytes(pack_directory(GARDEN / "2.0.0").data)

    old = pack_directory(GARDEN / "1.0.0")
    files = device_files(ARCHITECTURE) | settings_file(SETTINGS)
    files |= application_files(old.data, old.manifest)
    files["/ota.keys"] = (folder / "garden" / "public.key").read_bytes()
    create_flash(folder / "board.img", files)
    board = Board(folder / "board.img", ip=IP, on_line=lambda line: say(line, "  board| "))
    with board:
        board.wait_for("listens on port")
        for name, reason in REFUSALS.items():
            say(f"mpota upload {name}.tar")
            start = len(board.lines)
            if mpota("upload", folder / f"{name}.tar", "-i", IP, check=False) == 0:
                return 1
            board.wait_for(reason, start=start)
        say("mpota upload signed.tar")
        mpota("upload", folder / "signed.tar", "-i", IP)
        board.wait_for("slot b is confirmed")
    files = read_flash(folder / "board.img")
    if board.violation or b"version 2.0.0\n" not in files["/.ota/b/MANIFEST"]:
        return 1
    say("refused: tampered, unsigned. updated: garden 1.0.0 -> 2.0.0, signed, confirmed", "")
    return 0


def mpota(*arguments: object, check: bool = True) -> int:
    """Run the command `mpota`; return its exit status, which must be 0 where *check*."""
    command = [sys.executable, "-m", "mpota", *map(str, arguments)]
    return subprocess.run(command, check=check).returncode


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        try:
            sys.exit(main(Path(name)))
        except (TimeoutError, subprocess.CalledProcessError) as error:
            sys.exit(f"error: {error}")
