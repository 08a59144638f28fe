"""The files that go on a board: boot.py, main.py, the package in its ROM, settings, the record."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from mpota import image, page
from mpota.board import record
from mpota.board.settings import to_json
from mpota.image import romfs
from mpota.image.compile import BOARD_ARCHITECTURE, compile_module

# The folder where the firmware mounts the system ROM, and the folder in it that is in sys.path.
_ROM, _LIB = "/rom", "lib"
# The file with the update page, beside the modules of the package `ota`.
_PAGE = "ota/web/page.html.gz"
# The services that can be left out when a release brings the package `ota`.
SERVICES = ("web", "pull", "ddi", "mdns", "data")


def device_root() -> Path:
    """Return the folder with boot.py, main.py and lib: a part of the wheel, or the checkout."""
    installed = Path(__file__).parents[1] / "device"
    return installed if installed.is_dir() else Path(__file__).parents[3]


def boot_files() -> dict[str, bytes]:
    """Return boot.py and main.py: absolute name → content."""
    return {f"/{name}": (device_root() / name).read_bytes() for name in ("boot.py", "main.py")}


def package_modules(
    architecture: str, prefix: str, without: Collection[str] = ()
) -> dict[str, bytes]:
    """Return the package `ota`, compiled for *architecture*, and the page: `ota/….mpy` → content.

    *prefix* is the folder on the board that the package is imported from, an entry of sys.path.
    *without* are those of SERVICES that are left out; `ddi` needs `pull`, and is left out with it.
    """
    lib = device_root() / _LIB
    modules = {}
    for source in sorted((lib / "ota").rglob("*.py")):
        name = source.relative_to(lib).with_suffix(".mpy").as_posix()
        modules[name] = compile_module(
            source.read_text(encoding="utf-8"), f"{prefix}/{name}", architecture
        )
    modules[_PAGE] = page.build()
    without = {*without, "ddi"} if "pull" in without else set(without)
    left_out = tuple(f"ota/{service}/" for service in without)
    return {name: data for name, data in modules.items() if not name.startswith(left_out)}


def system_rom(architecture: str = BOARD_ARCHITECTURE) -> bytes:
    """Return the system ROM: a ROMFS with the package in its folder `lib`."""
    modules = package_modules(architecture, f"{_ROM}/{_LIB}")
    return romfs.build({f"{_LIB}/{name}": code for name, code in modules.items()})


def settings_file(settings: dict[str, object]) -> dict[str, bytes]:
    """Return /ota.json with *settings*, and the copy that a board keeps of the last good ones."""
    data = to_json(settings)
    return {"/ota.json": data, "/.ota/settings": data}


def first_record(application: bytes) -> dict[str, bytes]:
    """Return the boot record of a board whose slot a was flashed with the image *application*."""
    sequence = image.read(application).manifest.sequence
    slot = record.SlotRecord(sequence, len(application), hashlib.md5(application).digest())
    return {record.NAME: record.Record(1, active="a", floor=sequence, a=slot).pack()}
