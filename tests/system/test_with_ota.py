"""A release that brings its own version of this package, beside its application."""

import shutil
import struct
import subprocess
import sys

import boards
import pytest
from device import APP, Device
from mpota import arduino
from mpota.board import record
from mpota.board.files import SERVICES
from mpota.image import data
from mpota.image.compile import compile_module
from mpota.image.directory import pack_directory
from mpota.sim.rom import ARCHITECTURE

pytestmark = pytest.mark.parallel

REJECTED = 35
# This application prints the path of the package that it uses.
TELLING_APP = APP.replace(
    "    print(", "    import ota as package\n    print('package', package.__path__)\n    print(", 1
)


def package(changes):
    """Return the package as the files of a release, with *changes*: module → (old, new) texts.

    Three services are left out: with all there would be no room for an application.
    """
    files = {}
    for source in sorted((boards.ROOT / "lib" / "ota").rglob("*.py")):
        name = source.relative_to(boards.ROOT / "lib").with_suffix("").as_posix()
        if name.startswith(("ota/data/", "ota/ddi/", "ota/mdns/")):
            continue
        text = source.read_text()
        for old, new in changes.get(name, ()):
            assert old in text, (name, old)
            text = text.replace(old, new)
        path = f"ota/{name.removeprefix('ota/')}.mpy"
        files[f".ota/{path}"] = compile_module(text, f"/app/.ota/{path}", ARCHITECTURE)
    return files


# The next version of the package: it marks its lines in the log, and its record has a field more.
LOG = ("ota/log", (('"[ota]', '"[next ota]'),))
RECORD = (
    "ota/record",
    (("_VERSION = const(2)", "_VERSION = const(3)"),
     ("fields[2] < _VERSION", "fields[2] < 2"),
     ("        data = body + sha256", "        body += b'more'\n        data = body + sha256")),
)  # fmt: skip
NEXT = dict([LOG, RECORD])


def lines_of(device, start, version):
    """Return what a version of the package has logged since line *start*, "ota" or "next ota"."""
    mark = f"[{version}] "
    return [line.removeprefix(mark) for line in device.board.lines[start:] if line.startswith(mark)]


def record_version(device):
    """Return the version of the format that the record has, and its length."""
    data = device.files()[record.NAME]
    return struct.unpack_from("<B", data, 8)[0], len(data)


def test_a_release_runs_the_package_that_it_brings_and_the_next_one_gets_in(tmp_path):
    with Device(tmp_path) as device:
        start = device.said
        device.update(device.next_image(TELLING_APP, package(NEXT)))
        device.board.wait_for("package /app/.ota/ota", start=start)
        # The system ROM makes the boot decision; the release's package does everything else.
        trial = device.line(r"^\[ota\] I: boot: slot b on trial", start)
        assert not lines_of(device, trial + 1, "ota")
        assert "I: trial: slot b is confirmed" in lines_of(device, trial, "next ota")
        # The same after a reset and after a power cut: each package can read the record of the
        # other.
        version, size = record_version(device)
        assert version == 3
        for how in ("reset", "power cut"):
            start = device.boot(how)
            assert lines_of(device, start, "ota") == ["I: boot: slot b"]
            device.board.wait_for("app 2 runs", start=start)
        # With a release that has no package, the package of the system ROM runs again.
        start = device.said
        device.update(device.next_image(TELLING_APP))
        device.board.wait_for("package /rom/lib/ota", start=start)
        assert record_version(device) == (2, size - len(b"more"))
        assert not lines_of(device, device.line("on trial", start), "next ota")
        # A release with the package can follow one without it.
        start = device.said
        device.update(device.next_image(TELLING_APP, package(NEXT)))
        device.board.wait_for("package /app/.ota/ota", start=start)
        assert device.record.floor == 4
        device.takes_an_update()


def test_a_release_that_is_taken_back_takes_its_package_with_it(tmp_path):
    failing = TELLING_APP.replace("    while True:", "    raise ValueError\n    while True:")
    with Device(tmp_path) as device:
        start = device.said
        data = device.next_image(failing, package(NEXT))
        device.upload(data)
        trial = device.line("on trial", start)
        start = device.line("app 1 runs", trial)
        assert "E: trial: taken back" in "\n".join(lines_of(device, trial, "next ota"))
        # The release's package has written the record, and the system ROM's package reads it.
        assert record_version(device)[0] == 3
        assert device.record.rejected == 2
        device.board.wait_for("listens", start=start)
        device.refuses(data, REJECTED)
        device.takes_an_update()
        assert not lines_of(device, start, "next ota")


# Packages that do not work, because of the changes given for each. None: a module is missing.
BROKEN = {
    "incomplete": None,
    "raises": {"ota/start": (("def run():", "1 / 0\n\n\ndef run():"),)},
    "hangs": {"ota/start": (("def run():", "while True:\n    pass\n\n\ndef run():"),)},
    "never listens": {
        "ota/arduino/__init__": (("def handle(self):", "def handle(self):\n        1 / 0"),)
    },
}


@pytest.mark.long
@pytest.mark.parametrize("what", BROKEN)
def test_a_release_whose_package_is_broken_is_taken_back_and_the_next_one_gets_in(tmp_path, what):
    files = package(BROKEN[what] or {})
    if BROKEN[what] is None:
        del files[".ota/ota/start.mpy"]
    with Device(tmp_path, trial_s=1) as device:
        start = device.said
        device.upload(device.next_image(files=files))
        device.line("boot: slot b on trial, boot 1 of 3", start)
        # Each of the three boots may take 10 s.
        device.board.wait_for(
            r"boot: slot b: (it hung|not confirmed)|trial: taken back", start=start, timeout_s=90
        )
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("listens", start=start)
        device.takes_an_update()


def test_the_update_services_alone_are_those_of_the_system_rom(tmp_path):
    with Device(tmp_path, confirm_s=0.1) as device:
        device.update(device.next_image(files=package(NEXT)))
        # Without a network, these boots never become healthy.
        device.board.network = False
        for _ in range(10):
            start = device.said
            device.board.reset()
            device.board.wait_for("app 2 runs", start=start)
        start = device.said
        device.board.reset()
        start = device.line(r"^\[ota\] E: boot: 10 boots without a healthy one", start)
        device.board.network = True
        device.board.wait_for(r"^\[ota\] I: arduino: .* listens", start=start)
        assert not lines_of(device, start, "next ota")
        device.takes_an_update()


def test_a_release_may_do_without_services_that_the_settings_turn_on(tmp_path):
    folder = tmp_path / "garden"
    folder.mkdir()
    (folder / "app.py").write_text(TELLING_APP.replace("{version}", "2"))
    packed = pack_directory(
        folder, name="small", version="2", sequence=2, with_ota=True, without=SERVICES,
        architecture=ARCHITECTURE,
    )  # fmt: skip
    url = "http://127.0.0.1:1/"
    settings = {"web": True, "update_url": url, "ddi_url": url, "mdns": True, "heap": "64k"}
    with Device(tmp_path, **settings) as device:
        start = device.said
        device.sequence = 2
        device.update(packed.data)
        said = device.board.lines[device.line("package /app/.ota/ota", start) - 6 :]
        for service in set(SERVICES) - {"data", "ddi"}:
            assert any(f"begin: no {service}: " in line for line in said), said
        error = device.refuses(data.build({"a": b"1"}, data.TAR), 16, command=arduino.FILE_SYSTEM)
        assert "no data" in str(error)
        device.takes_an_update()


def test_pack_with_ota_makes_such_a_release(device, tmp_path):
    folder = tmp_path / "garden"
    shutil.copytree(boards.GARDEN / "1.0.0", folder)
    source = TELLING_APP.replace("{version}", str(device.sequence + 1))
    (folder / "app.py").write_text(source)
    release = {"name": "small", "version": "2", "sequence": device.sequence + 1}
    packed = pack_directory(
        folder, **release, with_ota=True, without=["pull"], architecture=ARCHITECTURE
    )
    start = device.said
    device.sequence += 1
    device.update(packed.data)
    device.board.wait_for("package /app/.ota/ota", start=start)
    device.takes_an_update()
    # This is how a user packs a release, for a board with the chip's own processor.
    command = [
        sys.executable,
        "-m",
        "mpota",
        "pack",
        folder,
        "-o",
        tmp_path / "x.img",
        "--with-ota",
        "--without",
        "pull",
    ]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
