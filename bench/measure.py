"""Measurements of mpota on simulated boards, for `make bench` and for the tests of its budgets.

Each function takes a folder to put a board's flash in.
"""

import functools
import os
import random
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from mpota import arduino, image
from mpota.board.files import boot_files, first_record, settings_file, system_rom
from mpota.board.record import NAME, Record
from mpota.image import signature, trailer
from mpota.image.compile import compile_module
from mpota.image.keys import binary_keys, load_private_key
from mpota.sim import Board, create_flash, read_flash
from mpota.sim.rom import ARCHITECTURE

APPS = Path(__file__).parent / "apps"
KEYS = Path(__file__).parent.parent / "tests" / "vectors" / "keys"
# The board's address: of this process alone, since tests measure side by side.
IP = f"127.251.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 2}"
# Nearly all that a slot takes.
IMAGE_BYTES = 100_000


class Heap(NamedTuple):
    """Bytes of heap: in use by the services when idle, and more of it at the peak of an update."""

    idle: int
    peak: int


class BootHeap(NamedTuple):
    """Bytes of heap that a boot has more in use than a cold one: on trial, and after it."""

    on_trial: int
    after: int


class Flash(NamedTuple):
    """What an update costs: bytes programmed for each byte of it, and ms of flash for 100 KB."""

    programmed_per_byte: float
    ms_per_100_kb: float


class TrialBoot(NamedTuple):
    """What a boot on trial costs beyond an ordinary one."""

    reads: float  # of the whole image
    records: int  # written
    programmed: int  # bytes
    erases: int


class Verification(NamedTuple):
    """The check of a signature: its time, that of hashing an image, and the heap that it needs."""

    check_us: int
    hash_us: int
    heap_bytes: int


def heap(folder: Path, *, key_bits: int = 0, password: str = "", auth: str = "auto",
         image_bytes: int = IMAGE_BYTES) -> Heap:  # fmt: skip
    """Measure what the services take: idle, and in an update of *image_bytes*.

    With *key_bits*, the board has a key of that length and the image is signed; *password* and
    *auth* are those of the upload.
    """
    # The heap of the application itself is subtracted: a bare run measures it.
    source = (APPS / "idle.py").read_text()
    bare_script = source + "\ngc.collect()\nprint('bare', gc.mem_alloc())\n"
    with script_board(folder, bare_script) as board:
        bare = int(board.wait_for(r"^bare (\d+)")[1])
    data = image_of("quick", 2, image_bytes)
    settings = {"password": password} if password else {}
    if key_bits:
        data = signature.sign(data, _private_key(key_bits))
    # One step a call, so that the application sees every moment of the update.
    with board_with(folder, "idle", key_bits, step_ms=0, confirm_s=0.1, **settings) as board:
        idle = int(board.wait_for(r"^idle (\d+)")[1])
        send(board, data, password=password, auth=auth)
        peak = int(board.wait_for(r"^peak (\d+)")[1])
        if key_bits:
            before = int(board.wait_for(r"^before the arithmetic (\d+)")[1])
            peak = max(peak, before + verification(folder, key_bits).heap_bytes)
    return Heap(idle - bare, peak - idle)


def boot_heap(folder: Path) -> BootHeap:
    """Measure what the boots after an update have in use, beyond a cold one of the same version."""
    password = "a password of the usual length"
    # In a trial that lasts longer than it takes to say what is in use.
    with board_with(folder, "idle", password=password, confirm_s=2) as board:
        board.wait_for("^idle")
        start = len(board.lines)
        send(board, image_of("idle", 2, 3000), password=password)
        on_trial = int(board.wait_for(r"^idle (\d+)", start=start)[1])
        board.wait_for("is confirmed", start=start)
        start = len(board.lines)
        board.reset()
        after = int(board.wait_for(r"^idle (\d+)", start=start)[1])
        board.power_off()
        start = len(board.lines)
        board.power_on()
        cold = int(board.wait_for(r"^idle (\d+)", start=start)[1])
    return BootHeap(on_trial - cold, after - cold)


def mdns_heap(folder: Path) -> int:
    """Measure how many bytes of heap the mDNS responder takes on an idle board with a password."""
    idle = []
    for is_on in (False, True):
        with board_with(folder, "idle", password="geheim", mdns=is_on) as board:
            idle.append(int(board.wait_for(r"^idle (\d+)")[1]))
    return idle[1] - idle[0]


def flash(folder: Path) -> Flash:
    """Measure what an update does to the flash, from the invitation to the confirmation."""
    data = image_of("quick", 2, IMAGE_BYTES)
    with board_with(folder, "quick", confirm_s=0.1) as board:
        board.wait_for("healthy")
        programmed, ms = board.programmed_bytes, board.flash_time_ms
        send(board, data)
        board.wait_for("is confirmed")
        size = len(data)
        return Flash(
            (board.programmed_bytes - programmed) / size,
            (board.flash_time_ms - ms) / size * 100 * 1024,
        )


def trial_boot(folder: Path) -> TrialBoot:
    """Measure a boot on trial against the ordinary one before it, until each is healthy."""
    data = image_of("quick", 2, IMAGE_BYTES)
    settings = {"reboot_on_success": False, "confirm_s": 0.1}
    with board_with(folder, "quick", **settings) as board:
        board.wait_for("healthy")
        ordinary = _of_a_boot(board)
        send(board, data)
        board.wait_for("is verified")
        trial = _of_a_boot(board)
    read, programmed, erases, records = (t - o for t, o in zip(trial, ordinary, strict=True))
    return TrialBoot(read / len(data), records, programmed, erases)


def _of_a_boot(board: Board) -> list[int]:
    # Resets the board; gives bytes read, bytes programmed, erases and records until it is healthy.
    def counts() -> list[int]:
        record = Record.parse(read_flash(board.flash)[NAME])
        return [board.read_bytes, board.programmed_bytes, board.erases, record.generation]

    before, seen = counts(), len(board.lines)
    board.reset()
    board.wait_for("^healthy", start=seen)
    return [after - b for after, b in zip(counts(), before, strict=True)]


def verification(folder: Path, bits: int) -> Verification:
    """Measure the check of a signature of *bits*."""
    message = b"an image"
    signed = trailer.split(signature.sign(message, _private_key(bits)))[1]
    files = _key_file(bits) | {"/main.py": (APPS / "verify.py").read_bytes()}
    files |= {"/image": message, "/signature": signed}
    create_flash(folder / "script.img", files, system=_rom())
    with Board(folder / "script.img", ip=IP) as board:
        match = board.wait_for(r"^verified (\d+) hashed (\d+) in (\d+)", timeout_s=120)
    return Verification(*map(int, match.groups()))


def throughput(folder: Path, rounds: int) -> tuple[float, float]:
    """Measure the bytes a second of an upload, and of a loop that does no more than it must.

    Each is the fastest of *rounds*: only other load on the computer makes one slower, and that is
    not the same for both.
    """
    data = image_of("quick", 2, IMAGE_BYTES)
    ours, theirs = [], []
    for _ in range(rounds):
        with board_with(folder, "quick") as board:
            board.wait_for("listens on")
            ours.append(send(board, data))
        with script_board(folder, receiving("receive_only")) as board:
            board.wait_for("waiting")
            theirs.append(send(board, data))
    return max(ours), max(theirs)


def boot_times(folder: Path, rounds: int) -> tuple[float, float]:
    """Measure the seconds from power-on to the application, in an ordinary boot and on trial."""
    plain, trial = [], []
    for _ in range(rounds):
        with board_with(folder, "quick", reboot_on_success=False) as board:
            board.wait_for("listens on")
            board.power_off()
            plain.append(_time_to_application(board))
            send(board, image_of("quick", 2, IMAGE_BYTES))
            board.wait_for("is verified")
            board.power_off()
            trial.append(_time_to_application(board))
    return statistics.median(plain), statistics.median(trial)


def _time_to_application(board: Board) -> float:
    seen = len(board.lines)
    begun = time.perf_counter()
    board.power_on()
    board.wait_for("application runs", start=seen)
    taken = time.perf_counter() - begun
    board.wait_for("listens on", start=seen)
    return taken


# Boards


@functools.cache
def _rom() -> bytes:
    return system_rom(ARCHITECTURE)


@functools.cache
def image_of(app: str, sequence: int, ballast_bytes: int = 0) -> bytes:
    """Return an image of an application of apps/, with so many bytes more."""
    source = (APPS / f"{app}.py").read_text()
    files = {"app.mpy": compile_module(source, "/app/app.mpy", ARCHITECTURE)}
    if ballast_bytes:
        files["ballast.bin"] = random.Random(1).randbytes(ballast_bytes)
    return image.build(name="bench", version=str(sequence), sequence=sequence, files=files)


def _private_key(bits: int) -> RSAPrivateKey:
    return load_private_key(KEYS / f"test-key-{bits}.pem")


def _key_file(bits: int) -> dict[str, bytes]:
    return {"/ota.keys": binary_keys([_private_key(bits).public_key()])}


def board_with(folder: Path, app: str, key_bits: int = 0, **settings: object) -> Board:
    """Return a board, switched off, with an application of apps/ and a key of so many bits."""
    data = image_of(app, 1)
    files = boot_files() | first_record(data)
    # Without mDNS, by which all boards that are measured at the same time would hear each other.
    files |= settings_file({"ssid": "simulated", "confirm_s": 1, "mdns": False} | settings)
    if key_bits:
        files |= _key_file(key_bits)
    create_flash(folder / "board.img", files, system=_rom(), slots={"a": data})
    return Board(folder / "board.img", ip=IP)


def receiving(name: str) -> str:
    """Return the script *name* of apps/, which receives an image as page_loop.py does."""
    return (APPS / "page_loop.py").read_text() + (APPS / f"{name}.py").read_text()


def script_board(folder: Path, script: str) -> Board:
    """Return a board, switched off, that runs *script* and nothing else."""
    create_flash(folder / "script.img", {"/main.py": script.encode()})
    return Board(folder / "script.img", ip=IP)


def send(board: Board, data: bytes, password: str = "", auth: str = "auto") -> float:
    """Upload *data*; return the bytes a second, from the first to the last that is counted."""
    times: list[float] = []
    arduino.upload(
        data,
        board_ip=board.ip,
        password=password,
        auth=auth,
        progress=lambda done, total: times.append(time.perf_counter()),
    )
    return len(data) / (times[-1] - times[0])
