"""Flash images to start the power tests from: a board that runs `old` and has `new` in /data.

Images come in from the flash itself: /bring_NAME.py feeds them to an Updater at power-on, as a
transport does.
"""

import atexit
import functools
import shutil
import tempfile
import threading
from pathlib import Path

from boards import SETTINGS, own_ip
from littlefs import LittleFS, UserContext
from mpota import image
from mpota.board.files import application_files, device_root, settings_file
from mpota.board.flash import FILE_SYSTEM_END, FILE_SYSTEM_START, SECTOR_BYTES
from mpota.image.compile import compile_module
from mpota.sim import Board, create_flash
from mpota.sim.rom import ARCHITECTURE
from releases import (
    AFTER,
    KEYS,
    NEW,
    NEW_KEYS,
    OLD,
    OLD_KEYS,
    OLDER,
    Scenario,
    release,
    signed_by_new,
    signed_by_old,
    twin,
)

# /lib/bringer: does to an image in /data what a transport does to one that arrives.
_BRINGER = """
import os
from ota import OTA, hal

def bring(name, damage=False):
    services = OTA()
    from ota import Callbacks
    from ota.errors import OTAError
    from ota.updater import STAGING, Updater

    updater = Updater(services, Callbacks())
    try:
        updater.begin(os.stat(name)[6])
        with open(name, "rb") as f:
            while True:
                n = f.readinto(updater.buffer)
                if not n:
                    break
                updater.write(updater.buffer[:n])
        if damage:  # the flash loses some of it before it is checked
            updater.file.close()
            with open(STAGING, "r+b") as f:
                f.seek(-1500, 2)
                f.write(b"damage")
        updater.end()
    except OTAError as e:
        print("refused:", e)
        return
    hal.reset()
"""
_BRING = """
import machine
if machine.reset_cause() == machine.PWRON_RESET:
    import bringer
    bringer.bring({arguments})
"""

# Run before boot.py at the boot that installs: the staged image is another one, just as whole, or
# the flash loses what was unpacked.
_SWAP = """
with open("/data/twin.tar", "rb") as twin, open("/.ota/staging", "wb") as staging:
    staging.write(twin.read())
"""
_DAMAGE_SLOT = """
import ota.install
unpack = ota.install.read_image
def unpack_and_damage(stream, buf, sink):
    manifest = yield from unpack(stream, buf, sink)
    with open("/.ota/a/pages/table.bin", "r+b") as f:
        f.write(b"damage")
    return manifest
ota.install.read_image = unpack_and_damage
"""

# What `after` is called where it is signed by a key that only `new` brings.
AFTER_NEW_KEYS = f"{AFTER}_{NEW}_keys"

Edit = tuple[str, str, str]  # a file of lib/ota, a text that is in it once, another in its place


class StaleEditError(Exception):
    """The text of an edit is not in its file just once: the code has moved on."""


@functools.cache
def _module(name: str, source: str) -> bytes:
    return compile_module(source, name, ARCHITECTURE, line_numbers=False)


def edited_sources(edits: tuple[Edit, ...]) -> dict[str, str]:
    """Return the sources of lib/ota, by file name, with *edits* made one after the other.

    Raises StaleEditError.
    """
    package = device_root() / "lib" / "ota"
    sources = {path.name: path.read_text() for path in package.glob("*.py")}
    for name, before, after in edits:
        found = sources.get(name, "").count(before)
        if found != 1:
            raise StaleEditError(f"lib/ota/{name} has this text {found} times, not once:\n{before}")
        sources[name] = sources[name].replace(before, after)
    return sources


def _device_files(edits: tuple[Edit, ...], marks: bool = False) -> dict[str, bytes]:
    # With *marks*, the board tells where it stores the record.
    root = device_root()
    files = {f"/{name}": (root / name).read_bytes() for name in ("boot.py", "main.py")}
    sources = edited_sources(edits)
    if marks:
        sources["record.py"] += _MARKS
    for name, source in sources.items():
        path = f"/lib/ota/{name.removesuffix('.py')}.mpy"
        files[path] = _module(path, source)
    return files


# Tells which flash operations a store of the record takes; 8 is control.OPERATIONS.
_MARKS = """
import power
_plain_store = Record.store
def _store(self):
    first = power.words[2]
    _plain_store(self)
    print("stored", first, power.words[2])
Record.store = _store
"""

_folder = tempfile.TemporaryDirectory(prefix="mpota-power-")
atexit.register(_folder.cleanup)
_lock = threading.Lock()


def base_flash(scenario: Scenario, edits: tuple[Edit, ...] = (), marks: bool = False) -> Path:
    """Return a flash image, made once and not to be changed, of a board that runs `old`."""
    with _lock:
        return _base_flash(scenario, edits, marks)


@functools.cache
def _base_flash(scenario: Scenario, edits: tuple[Edit, ...], marks: bool) -> Path:
    path = Path(tempfile.mkdtemp(dir=_folder.name), "base.img")
    if edits or marks:
        # From a board that came to where it is with the right code.
        shutil.copy(_base_flash(scenario, (), False), path)
        replace_files(path, _device_files(edits, marks))
        return path
    files = _device_files(()) | settings_file(SETTINGS | {"confirm_s": 0})
    first = release(OLDER if scenario.updated_before else OLD)
    files |= application_files(first, image.read(first))
    files["/lib/bringer.mpy"] = _module("/lib/bringer.mpy", _BRINGER)
    for name, data in _images(scenario).items():
        files[f"/data/{name}.tar"] = data
        files[f"/bring_{name}.py"] = _BRING.format(arguments=f"'/data/{name}.tar'").encode()
    files["/bring_damaged.py"] = _BRING.format(arguments=f"'/data/{NEW}.tar', True").encode()
    if scenario.new_keys:
        files[KEYS] = OLD_KEYS
    files["/data/twin.tar"] = twin(NEW)
    files |= {"/swap.py": _SWAP.encode(), "/damage.py": _DAMAGE_SLOT.encode()}
    create_flash(path, files)
    if scenario.updated_before:
        with Board(path, ip=own_ip(), scripts=bringing(OLD)) as board:
            board.wait_for("is confirmed")
    return path


def _images(scenario: Scenario) -> dict[str, bytes]:
    # What the board can be told to bring in, by name.
    if not scenario.new_keys:
        return {OLD: release(OLD), NEW: release(NEW, scenario.app), AFTER: release(AFTER)}
    new = release(NEW, scenario.app, NEW_KEYS)
    return {
        OLD: signed_by_old(release(OLD)),
        NEW: signed_by_old(new),
        "stranger": signed_by_new(new),
        AFTER: signed_by_old(release(AFTER)),
        AFTER_NEW_KEYS: signed_by_new(release(AFTER)),
    }


def replace_files(flash: Path, files: dict[str, bytes]) -> None:
    """Write *files* (absolute name → content) into a flash image, beside what is there."""
    data = bytearray(flash.read_bytes())
    content = data[FILE_SYSTEM_START:FILE_SYSTEM_END]
    fs = LittleFS(
        context=UserContext(buffer=content),
        block_size=SECTOR_BYTES,
        block_count=len(content) // SECTOR_BYTES,
    )
    for name, text in files.items():
        with fs.open(name, "wb") as file:
            file.write(text)
    fs.unmount()
    data[FILE_SYSTEM_START:FILE_SYSTEM_END] = content
    flash.write_bytes(data)


def bringing(name: str) -> tuple[str, ...]:
    """Return the scripts of a board that brings in *name* at power-on."""
    return ("boot.py", f"bring_{name}.py", "main.py")
