"""A board's flash image: everything lies where the flash map says, and can be read back."""

import gzip

import pytest
from mpota import image
from mpota.board import flash
from mpota.board.files import (
    SERVICES,
    boot_files,
    first_record,
    package_modules,
    settings_file,
    system_rom,
)
from mpota.errors import CommandError
from mpota.image import romfs, trailer

FIELDS = {"name": "garden", "version": "1", "sequence": 17}
IMAGE = image.build(files={"app.mpy": b"M\x06\x00\x1f"}, **FIELDS)
SIGNED = trailer.append(IMAGE, b"s" * 256)
OTHER = image.build(files={"app.mpy": bytes(9000)}, **FIELDS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "flash.img"


def write(path, at, data):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_everything_lies_where_the_map_has_it(path):
    files = {"/boot.py": b"pass\n", "/data/deep/table": b"1" * 10_000}
    flash.create_flash(path, files, system=b"rom", slots={"a": IMAGE, "b": SIGNED})
    data = path.read_bytes()
    assert len(data) == 0x400000
    assert data[:0xB0000] == b"\xff" * 0xB0000
    assert data[0xB0000:0xB0004] == b"rom\xff"
    assert data[0xCE000:].startswith(IMAGE + b"\xff") and data[0xE7000:].startswith(SIGNED)
    for end in (0xE7000, 0x100000):
        assert data[end - 16 : end] == b"\xff" * 8 + b"ACPT" + b"\xff" * 4
    assert data[0x100008:0x100010] == b"littlefs"
    assert data[-20 * 1024 :] == b"\xff" * 20 * 1024
    assert flash.read_flash(path) == files


def test_a_slot_is_read_back(path):
    flash.create_flash(path, first_record(SIGNED), slots={"a": SIGNED})
    assert flash.read_slot(path, "a") == flash.Slot(SIGNED, accepted=True, rejected=False)
    assert flash.read_slot(path, "b") == flash.Slot(None, accepted=False, rejected=False)


@pytest.mark.parametrize("files", [{}, {"/.ota/record": b"damaged"}, first_record(OTHER)])
def test_without_a_record_that_fits_an_image_ends_with_its_footer(path, files):
    flash.create_flash(path, files, slots={"a": SIGNED})
    assert flash.read_slot(path, "a").image == IMAGE


def test_a_slot_whose_image_is_not_whole_has_none(path):
    flash.create_flash(path, first_record(IMAGE), slots={"a": IMAGE})
    write(path, 0xCE000 + 50, b"\0")
    assert flash.read_slot(path, "a") == flash.Slot(None, accepted=True, rejected=False)


@pytest.mark.parametrize(
    ("marks", "accepted", "rejected"),
    [
        (b"\xff" * 8, False, False),
        (b"ACPT" + b"\xff" * 4, True, False),
        (b"ACP\xff" + b"\xff" * 4, False, False),
        (b"ACPTRJCT", True, True),
        (b"ACPT\xff\xff\xffT", True, True),
        (bytes(8), False, True),
    ],
)
def test_the_marks_of_a_slot_are_read(path, marks, accepted, rejected):
    flash.create_flash(path, {}, slots={"b": IMAGE})
    write(path, 0x100000 - 8, marks)
    assert flash.read_slot(path, "b") == flash.Slot(IMAGE, accepted, rejected)


def test_an_image_may_fill_a_slot_and_not_exceed_it(path):
    flash.create_flash(path, {}, slots={"a": bytes(102_144)})
    with pytest.raises(
        CommandError, match="image for slot a has 102145 bytes, and there is room for 102144"
    ):
        flash.create_flash(path, {}, slots={"a": bytes(102_145)})


def test_a_system_rom_that_is_too_large_is_refused(path):
    with pytest.raises(
        CommandError, match="the system ROM has 122881 bytes, and there is room for 122880"
    ):
        flash.create_flash(path, {}, system=bytes(122_881))


def test_what_is_no_flash_image_is_told(path):
    path.write_bytes(b"short")
    for read in (flash.read_flash, lambda path: flash.read_slot(path, "a")):
        with pytest.raises(CommandError, match="5 bytes, not a flash image of 2, 4, 8 or 16 MiB"):
            read(path)
    path.write_bytes(b"\xff" * flash.FLASH_SIZE_BYTES)
    with pytest.raises(CommandError, match="holds no littlefs"):
        flash.read_flash(path)


# The files of a board


def test_boot_and_main_are_on_the_board_as_they_are():
    assert set(boot_files()) == {"/boot.py", "/main.py"}
    assert b"import ota.boot" in boot_files()["/boot.py"]


def test_the_system_rom_has_the_package_and_is_no_larger_than_its_place():
    data = system_rom()
    modules = romfs.read(data)
    page = modules.pop("lib/ota/web/page.html.gz")
    assert gzip.decompress(page).startswith(b"<!doctype html>")
    assert all(name.startswith("lib/ota/") and name.endswith(".mpy") for name in modules)
    assert b"/rom/lib/ota/__init__.mpy" in modules["lib/ota/__init__.mpy"]
    assert len(data) <= flash.SYSTEM_BYTES
    assert data == system_rom()


def test_the_package_without_the_services_that_a_release_may_leave_out_takes_72_kib_at_most():
    assert len(romfs.build(package_modules("xtensa", "/rom/lib", SERVICES))) <= 72 * 1024


def test_subpackages_are_compiled_too(tmp_path, monkeypatch):
    for name in ("__init__.py", "updater/__init__.py", "arduino/session.py"):
        file = tmp_path / "lib" / "ota" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x = 1\n")
    monkeypatch.setattr("mpota.board.files.device_root", lambda: tmp_path)
    modules = package_modules("xtensa", "/app/.ota")
    names = ["ota/__init__.mpy", "ota/arduino/session.mpy", "ota/updater/__init__.mpy"]
    assert list(modules) == [*names, "ota/web/page.html.gz"]
    assert all(f"/app/.ota/{name}".encode() in modules[name] for name in names)


def test_settings_are_json():
    data = b'{\n "ssid": "a"\n}\n'
    assert settings_file({"ssid": "a"}) == {"/ota.json": data, "/.ota/settings": data}
