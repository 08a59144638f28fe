"""Measure mpota on simulated boards: `make bench`. Ratios first, since they hold on any computer.

Every figure comes from this run. The budgets are those of docs/DESIGN.md.
"""

import functools
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from mpota import arduino, image
from mpota.board.files import boot_files, first_record, settings_file, system_rom
from mpota.image import signature, trailer
from mpota.image.compile import compile_module
from mpota.image.keys import binary_keys, load_private_key
from mpota.sim import Board, create_flash
from mpota.sim.rom import ARCHITECTURE
from rich.console import Console
from rich.table import Table

APPS = Path(__file__).parent / "apps"
KEYS = Path(__file__).parent.parent / "tests" / "vectors" / "keys"
IMAGE_BYTES = 90_000
ROUNDS = 9
# Nearly all that a slot takes.
UPLOAD_BYTES = 100_000
# A 38 KiB heap of the chip is 56 KiB here, where objects are larger.
SCALE = 38 / 56


def main() -> int:
    console = Console()
    with tempfile.TemporaryDirectory() as name, console.status("measuring …"):
        folder = Path(name)
        throughput, received = _throughput(folder)
        written = _written(folder)
        idle, peak = _heap(folder)
        _, peak_signed = _heap(folder, key_bits=2048)
        verified, hashed, heap = _verification(folder, 2048)
        verified_long, _, heap_long = _verification(folder, 4096)
        boot, boot_pending = _boot_times(folder)
    table = Table("what", "figure", "budget", title="mpota on the simulated board")
    table.add_row("upload, of the speed of a loop that only receives and writes",
                  f"{throughput:.0%}", "≥ 85 %")  # fmt: skip
    table.add_row("flash bytes programmed per byte of the image", f"{written:.2f}", "≤ 2.2")
    table.add_row("boot with an image pending, of a boot without",
                  f"{boot_pending / boot:.1f}", "")  # fmt: skip
    table.add_row("idle heap, listener on, scaled to the chip",
                  f"{idle * SCALE / 1024:.1f} KB", "≤ 6 KB")  # fmt: skip
    table.add_row("peak over idle during an update, scaled to the chip",
                  f"{peak * SCALE / 1024:.1f} KB", "≤ 16 KB")  # fmt: skip
    table.add_row("the same, signed with 2048 bits",
                  f"{peak_signed * SCALE / 1024:.1f} KB", "≤ 16 KB")  # fmt: skip
    table.add_row(f"verifying a signature of 2048 bits, of hashing {IMAGE_BYTES} bytes",
                  f"{verified / hashed:.2f}", "")  # fmt: skip
    table.add_row("the same of 4096 bits", f"{verified_long / hashed:.2f}", "")
    table.add_row("heap that verifying 2048 bits needs, scaled to the chip",
                  f"{heap * SCALE / 1024:.1f} KB", "")  # fmt: skip
    table.add_row("the same of 4096 bits", f"{heap_long * SCALE / 1024:.1f} KB", "")
    table.add_section()
    table.add_row("upload", f"{received / 1024:.0f} KB/s", "")
    table.add_row("idle heap, as measured here", f"{idle / 1024:.1f} KB", "")
    table.add_row("peak over idle, as measured here", f"{peak / 1024:.1f} KB", "")
    table.add_row("peak over idle, signed, as measured here", f"{peak_signed / 1024:.1f} KB", "")
    table.add_row("verifying a signature of 2048 bits", f"{verified / 1000:.1f} ms", "")
    table.add_row("verifying a signature of 4096 bits", f"{verified_long / 1000:.1f} ms", "")
    table.add_row("boot, power-on to application", f"{boot * 1000:.0f} ms", "")
    table.add_row(f"boot, {IMAGE_BYTES} bytes pending", f"{boot_pending * 1000:.0f} ms", "")
    console.print(table)
    return 0


@functools.cache
def _rom() -> bytes:
    return system_rom(ARCHITECTURE)


def _image(app: str, version: str, sequence: int, ballast_bytes: int = 0) -> bytes:
    source = (APPS / f"{app}.py").read_text()
    files = {"app.mpy": compile_module(source, "/app/app.mpy", ARCHITECTURE)}
    if ballast_bytes:
        files["ballast.bin"] = random.Random(1).randbytes(ballast_bytes)
    return image.build(name="bench", version=version, sequence=sequence, files=files)


def _private_key(bits: int) -> RSAPrivateKey:
    return load_private_key(KEYS / f"test-key-{bits}.pem")


def _key_file(bits: int) -> dict[str, bytes]:
    return {"/ota.keys": binary_keys([_private_key(bits).public_key()])}


def _board(folder: Path, app: str, key_bits: int = 0, **settings: object) -> Board:
    data = _image(app, "1", 1)
    files = (
        boot_files()
        | first_record(data)
        | settings_file({"ssid": "simulated", "confirm_s": 1} | settings)
    )
    if key_bits:
        files |= _key_file(key_bits)
    create_flash(folder / "board.img", files, system=_rom(), slots={"a": data})
    return Board(folder / "board.img")


def _script_board(folder: Path, script: bytes) -> Board:
    create_flash(folder / "script.img", {"/main.py": script})
    return Board(folder / "script.img")


def _send(board: Board, data: bytes) -> float:
    # Bytes a second, from the first to the last byte acknowledged.
    times: list[float] = []
    arduino.upload(
        data,
        board_ip=board.ip,
        progress=lambda done, total: times.append(time.perf_counter()),
    )
    return len(data) / (times[-1] - times[0])


def _throughput(folder: Path) -> tuple[float, float]:
    # The fastest of each: what slows one down is the machine, and it is not the same for both.
    data = _image("quick", "2", 2, UPLOAD_BYTES)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        with _board(folder, "quick") as board:
            board.wait_for("listens on")
            ours.append(_send(board, data))
        with _script_board(folder, (APPS / "receive_only.py").read_bytes()) as board:
            board.wait_for("waiting")
            theirs.append(_send(board, data))
    return max(ours) / max(theirs), max(ours)


def _written(folder: Path) -> float:
    data = _image("quick", "2", 2, IMAGE_BYTES)
    with _board(folder, "quick") as board:
        board.wait_for("listens on")
        before = board.programmed_bytes
        _send(board, data)
        board.wait_for("is confirmed")
        return (board.programmed_bytes - before) / len(data)


def _heap(folder: Path, key_bits: int = 0) -> tuple[int, int]:
    # What the application itself takes up is taken off: it is there in the bare run as well.
    source = (APPS / "idle.py").read_bytes()
    bare_script = source + b"\ngc.collect()\nprint('bare', gc.mem_alloc())\n"
    with _script_board(folder, bare_script) as board:
        bare = int(board.wait_for(r"^bare (\d+)")[1])
    # One step a call, so that the application sees every moment of the update.
    data = _image("quick", "2", 2, IMAGE_BYTES)
    if key_bits:
        data = signature.sign(data, _private_key(key_bits))
    with _board(folder, "idle", key_bits, step_ms=0, confirm_s=0.1) as board:
        idle = int(board.wait_for(r"^idle (\d+)")[1])
        _send(board, data)
        peak = int(board.wait_for(r"^peak (\d+)")[1])
    return idle - bare, peak - idle


def _verification(folder: Path, bits: int) -> tuple[int, int, int]:
    # In µs: the check of a signature, and hashing what is usual for an image; in bytes: its heap.
    message = b"an image"
    signed = trailer.split(signature.sign(message, _private_key(bits)))[1]
    files = _key_file(bits) | {"/main.py": (APPS / "verify.py").read_bytes()}
    files |= {"/image": message, "/signature": signed}
    create_flash(folder / "script.img", files, system=_rom())
    with Board(folder / "script.img") as board:
        match = board.wait_for(r"^verified (\d+) hashed (\d+) in (\d+)", timeout_s=120)
    return int(match[1]), int(match[2]), int(match[3])


def _boot_times(folder: Path) -> tuple[float, float]:
    plain, pending = [], []
    for _ in range(ROUNDS):
        with _board(folder, "quick", reboot_on_success=False) as board:
            board.wait_for("application runs")
            board.wait_for("listens on")
            board.power_off()
            plain.append(_time_to_application(board))
            _send(board, _image("quick", "2", 2, IMAGE_BYTES))
            board.power_off()
            pending.append(_time_to_application(board))
    return statistics.median(plain), statistics.median(pending)


def _time_to_application(board: Board) -> float:
    seen = len(board.lines)
    begun = time.perf_counter()
    board.power_on()
    board.wait_for("application runs", start=seen)
    taken = time.perf_counter() - begun
    board.wait_for("listens on", start=seen)
    return taken


if __name__ == "__main__":
    sys.exit(main())
