"""The flash images that the power tests start from: boards whose /data holds the next images.

Images come in from the flash itself: scripts between boot.py and main.py feed them to an Updater
at power-on, as a transport does.
"""

import atexit
import functools
import gzip
import hashlib
import shutil
import tempfile
import threading
from pathlib import Path

from boards import SETTINGS, own_ip
from littlefs import LittleFS, UserContext
from mpota.board.files import boot_files, device_root, first_record, settings_file
from mpota.board.flash import (
    FILE_SYSTEM_END,
    FILE_SYSTEM_START,
    SECTOR_BYTES,
    SYSTEM_BYTES,
    SYSTEM_START,
)
from mpota.image import delta, romfs
from mpota.image.compile import compile_module
from mpota.sim import Board, create_flash
from mpota.sim.rom import ARCHITECTURE
from oracle import RECORD, SLOT_BYTES, SLOTS
from releases import (
    AFTER,
    KEYS,
    NEW,
    NEW_KEYS,
    NEWER,
    OLD,
    OLD_KEYS,
    OLDER,
    large_release,
    lying_release,
    release,
    signed_by_new,
    signed_by_old,
)
from scenarios import Edit, Scenario

CONFIRMED = r"trial: slot . is confirmed"

# /lib/bringer: does to an image in /data what a transport does to one that arrives.
_BRINGER = """
import uos
from ota import OTA, OTAError, Updater, hal, slots

def bring(name, services=None, md5=None, sha256=None, change=None, restart=True):
    services = services or OTA()
    updater = Updater(services)
    if md5:
        updater.set_md5(md5)
    if sha256:
        updater.set_sha256(sha256)
    try:
        updater.begin(uos.stat(name)[6])
        with open(name, "rb") as f:
            updater.write_stream(f)
        if change == "damage":  # the flash loses some of the image
            hal.flash_write(slots.start(updater.slot) + 4096, bytearray(64))
        elif change == "policy":
            from ota import record

            boot_record = record.load()
            boot_record.rejected = slots.manifest_of(updater.slot)["sequence"]
            boot_record.store()
        updater.end()
    except OTAError as e:
        print("refused:", e)
        return
    if restart:
        hal.reset()

def revert():
    try:
        OTA().revert()
    except OTAError as e:
        print("refused:", e)

def age(left):
    # Stores the record until *left* more stores fit before the file system erases a sector.
    import esp
    from ota import record

    def period():
        count, erases = 0, esp.shared.words[6]
        while esp.shared.words[6] == erases:
            record.load().store()
            count += 1
        return count

    period()
    for _ in range(period() - left):
        record.load().store()
    print("aged")
"""
_AT_POWER_ON = """
import umachine
if umachine.reset_cause() == umachine.PWRON_RESET:
    import bringer
    {call}
"""

# What `after` is called where it is signed by a key that only `new` brings.
AFTER_NEW_KEYS = f"{AFTER}_{NEW}_keys"
# The scripts of images that must be refused, though their footers are right.
REFUSED = ("stranger", "digest", "policy", "lies")

# So many stores of the record fit before the file system erases a sector: an erase comes in the
# end of a trial.
_STORES_LEFT = 3


class StaleEditError(Exception):
    """The text of an edit does not stand in its file exactly once: the code has changed."""


@functools.cache
def _module(name: str, source: str) -> bytes:
    return compile_module(source, name, ARCHITECTURE)


def _edited_sources(edits: tuple[Edit, ...]) -> dict[str, str]:
    package = device_root() / "lib" / "ota"
    sources = {
        path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")
    }
    for name, before, after in edits:
        found = sources.get(name, "").count(before)
        if found != 1:
            raise StaleEditError(f"lib/ota/{name} has this text {found} times, not once:\n{before}")
        sources[name] = sources[name].replace(before, after)
    return sources


@functools.cache
def system_rom(edits: tuple[Edit, ...]) -> bytes:
    """Return the system ROM with *edits* made, one by one, to the sources of lib/ota.

    Raises StaleEditError, and CommandError for what is no Python then.
    """
    modules = {}
    for name, source in sorted(_edited_sources(edits).items()):
        path = f"lib/ota/{name.removesuffix('.py')}.mpy"
        modules[path] = _module(f"/rom/{path}", source)
    return romfs.build(modules)


_folder = tempfile.TemporaryDirectory(prefix="mpota-power-")
atexit.register(_folder.cleanup)
_lock = threading.Lock()


def base_flash(scenario: Scenario, edits: tuple[Edit, ...] = ()) -> Path:
    """Return a flash image, made once and not to be changed, of the board before *scenario*.

    *edits* are made to the device code after it came to where it is.
    """
    with _lock:
        return _base_flash(scenario, edits)


@functools.cache
def _base_flash(scenario: Scenario, edits: tuple[Edit, ...]) -> Path:
    path = Path(tempfile.mkdtemp(dir=_folder.name), "base.img")
    if edits:
        shutil.copy(_base_flash(scenario, ()), path)
        edit_rom(path, scenario.tuning + edits)
        return path
    images = _images(scenario)
    first = {"flashed": OLD, "newest": OLD}.get(scenario.board, OLDER)
    files = boot_files() | _scripts(scenario, images) | first_record(images[first])
    settings = {"confirm_s": 0, "trial_s": scenario.trial_s, "password": scenario.password}
    settings["web"] = scenario.has_page
    files |= settings_file(SETTINGS | settings)
    if scenario.new_keys:
        files[KEYS] = OLD_KEYS
    system = system_rom(scenario.tuning)
    create_flash(path, files, system=system, slots={"a": images[first]})
    if scenario.board != "flashed":
        _boot(path, "bring_new" if first == OLD else "bring_old", CONFIRMED)
    if scenario.board == "rejected":
        _boot(path, "bring_new", f"^app {OLD} runs")
    _boot(path, "age", "^aged$")
    _damage(path, scenario)
    return path


def edit_rom(path: Path, edits: tuple[Edit, ...]) -> None:
    """Write the device code with *edits* to the board whose flash is *path*."""
    _overwrite(path, SYSTEM_START, system_rom(edits).ljust(SYSTEM_BYTES, b"\xff"))


def _boot(path: Path, script: str, last_line: str) -> None:
    with Board(path, ip=own_ip(), scripts=scripts(script)) as board:
        board.wait_for(last_line)


def _damage(path: Path, scenario: Scenario) -> None:
    if scenario.lacks_record:
        replace_files(path, {RECORD: None})
    for letter, at in SLOTS.items():
        if scenario.board == "empty":
            _overwrite(path, at + SLOT_BYTES - 8, bytes(8))
        elif scenario.board == "damaged":
            _overwrite(path, at, bytes(64))
        elif scenario.board == "half" and letter == "b":
            _overwrite(path, at + SECTOR_BYTES, bytes(64))
    if scenario.old_app == "breaks":
        replace_files(path, {"/data/broken": b""})


def _scripts(scenario: Scenario, images: dict[str, bytes]) -> dict[str, bytes]:
    calls = {"revert": "bringer.revert()", "age": f"bringer.age({_STORES_LEFT})"}
    files = {"/lib/bringer.mpy": _module("/lib/bringer.mpy", _BRINGER)}
    for name, data in images.items():
        files[f"/data/{name}.img"] = data
        calls[f"bring_{name}"] = _call(name, data)
    new = images[NEW]
    if scenario.sent_as != "image":
        # Of these no MD5 is on record, which the oracle would look for in the slot.
        sha256 = hashlib.sha256(new).hexdigest()
        calls["bring_new"] = f"bringer.bring('/data/{NEW}.img', sha256='{sha256}')"
    calls["stage_new"] = _call(NEW, new, restart=False)
    calls["stage_and_revert"] = calls["stage_new"] + "\n    bringer.revert()"
    calls["bring_both"] = calls["stage_new"] + "\n    " + _call(NEWER, images[NEWER])
    calls["damaged"] = _call(NEW, new, change="damage")
    calls["policy"] = _call(NEW, new, change="policy")
    calls["digest"] = f"bringer.bring('/data/{NEW}.img', sha256='{'0' * 64}')"
    for name, call in calls.items():
        files[f"/{name}.py"] = _AT_POWER_ON.format(call=call).encode()
    return files


def _call(name: str, data: bytes, **options: object) -> str:
    md5, sha256 = hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest()
    more = "".join(f", {option}={value!r}" for option, value in options.items())
    return f"bringer.bring('/data/{name}.img', md5='{md5}', sha256='{sha256}'{more})"


def _images(scenario: Scenario) -> dict[str, bytes]:
    # What the board can be told to bring in, by name.
    images = {
        OLDER: release(OLDER),
        OLD: release(OLD, scenario.old_app),
        NEW: release(NEW, scenario.app),
        NEWER: release(NEWER),
        AFTER: release(AFTER),
        "lies": lying_release(NEW),
    }
    if scenario.board == "large":
        images |= {OLDER: large_release(OLDER), NEW: large_release(NEW)}
    if not scenario.new_keys:
        return images | {NEW: _as_sent(scenario, images)}
    new = release(NEW, scenario.app, NEW_KEYS)
    images = {name: signed_by_old(data) for name, data in (images | {NEW: new}).items()}
    return images | {
        NEW: _as_sent(scenario, images),
        "stranger": signed_by_new(new),
        AFTER_NEW_KEYS: signed_by_new(release(AFTER)),
    }


def _as_sent(scenario: Scenario, images: dict[str, bytes]) -> bytes:
    if scenario.sent_as == "gzip":
        return gzip.compress(images[NEW])
    return delta.make(images[OLD], images[NEW]) if scenario.sent_as == "delta" else images[NEW]


def _overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def replace_files(flash: Path, files: dict[str, bytes | None]) -> None:
    """Write *files* (absolute name → content, None: delete it) into the file system of *flash*."""
    data = bytearray(flash.read_bytes())
    content = data[FILE_SYSTEM_START:FILE_SYSTEM_END]
    fs = LittleFS(
        context=UserContext(buffer=content),
        block_size=SECTOR_BYTES,
        block_count=len(content) // SECTOR_BYTES,
    )
    for name, text in files.items():
        if text is None:
            fs.remove(name)
            continue
        with fs.open(name, "wb") as file:
            file.write(text)
    fs.unmount()
    data[FILE_SYSTEM_START:FILE_SYSTEM_END] = content
    flash.write_bytes(data)


def scripts(script: str) -> tuple[str, ...]:
    """Return the scripts of a board that runs *script* at power-on, "" for none."""
    return ("boot.py", f"{script}.py", "main.py") if script else ("boot.py", "main.py")
