"""A board with a public key takes what its owner signed and nothing else: `make demo-signed`.

Makes a key, and shows that a tampered and an unsigned image are refused, and that a signed one is
confirmed. Ends with status 0 only if all of this was so.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from demo import GARDEN, IP, SETTINGS, end_with, say
from mpota.board.files import boot_files, first_record, settings_file, system_rom
from mpota.board.flash import read_slot
from mpota.image.directory import pack_directory
from mpota.sim import Board, create_flash
from mpota.sim.address import check_address
from mpota.sim.rom import ARCHITECTURE

# What the board says to an image that it refuses for its signature, and for no other reason.
REFUSALS = {
    "tampered": r"ERROR\[12\]: Signature verification failed$",
    "unsigned": r"ERROR\[12\]: Signature verification failed: not signed$",
}


def main(folder: Path) -> int:
    check_address(IP)
    say("mpota keygen: private.key stays with the application, public.key goes on the board")
    shutil.copytree(GARDEN / "2.0.0", folder / "garden")
    mpota("keygen", "-o", folder / "garden")
    mpota("pack", folder / "garden", "-o", folder / "signed.img")
    signed = (folder / "signed.img").read_bytes()
    unsigned = pack_directory(GARDEN / "2.0.0").data
    (folder / "unsigned.img").write_bytes(unsigned)
    # Another application, whole in itself, with the signature of the first.
    other = pack_directory(GARDEN / "2.0.0", version="2.0.1").data
    (folder / "tampered.img").write_bytes(other + signed[len(unsigned) :])

    old = pack_directory(GARDEN / "1.0.0").data
    files = boot_files() | settings_file(SETTINGS) | first_record(old)
    files["/ota.keys"] = (folder / "garden" / "public.key").read_bytes()
    flash = folder / "board.img"
    create_flash(flash, files, system=system_rom(ARCHITECTURE), slots={"a": old})
    board = Board(flash, ip=IP, on_line=lambda line: say(line, "  board| "))
    with board:
        board.wait_for("listens on port")
        for name, reason in REFUSALS.items():
            say(f"mpota upload {name}.img")
            start = len(board.lines)
            if mpota("upload", folder / f"{name}.img", "-i", IP, check=False) == 0:
                return 1
            board.wait_for(reason, start=start)
        say("mpota upload signed.img")
        mpota("upload", folder / "signed.img", "-i", IP)
    slot = read_slot(flash, "b")
    if board.violation or not slot.accepted or slot.image != signed:
        return 1
    say("refused: tampered, unsigned. updated: garden 1.0.0 -> 2.0.0, signed, confirmed", "")
    return 0


def mpota(*arguments: object, check: bool = True) -> int:
    """Run the command `mpota`; return its exit status, which must be 0 where *check*."""
    command = [sys.executable, "-m", "mpota", *map(str, arguments)]
    return subprocess.run(command, check=check).returncode


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        end_with(lambda: main(Path(name)))
