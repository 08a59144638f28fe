"""Firmware files: which are accepted as MicroPython with ROMFS, and what is told of others."""

import hashlib
import struct

import pytest
from mpota.board.firmware_file import check_firmware, describe
from mpota.cli import app
from mpota.errors import CommandError
from mpota.sim.firmware import SEGMENTS, VERSION, stand_in_firmware
from typer.testing import CliRunner

GOOD = stand_in_firmware()
LENGTH_AT = 0x8FFC


def refusal(data: bytes) -> str:
    with pytest.raises(CommandError) as refused:
        check_firmware(data, "file.bin")
    line = str(refused.value)
    assert "\n" not in line
    assert "file.bin" in line
    return line


def with_md5(data: bytes) -> bytes:
    """Return *data* with an MD5 that fits, as in a file that somebody has forged."""
    return data[:-16] + hashlib.md5(data[4:-16]).digest()


def test_the_layout_of_the_real_file_is_taken():
    # The numbers of makeimg.py and of the 2 MiB build with ROMFS.
    assert struct.unpack_from("<I", GOOD, LENGTH_AT)[0] == len(GOOD) - 16
    assert GOOD[0] == 0xE9
    assert GOOD[8:12] == struct.pack("<I", 0x40100000)
    assert struct.pack("<II", 327680, 0x402B0000) in GOOD
    firmware = check_firmware(GOOD, "file.bin")
    assert (firmware.version, firmware.date) == (VERSION, "2026-04-06")
    assert firmware.sha256 == hashlib.sha256(GOOD).hexdigest()


def test_the_bytes_that_esptool_may_change_are_in_no_md5():
    check_firmware(GOOD[:2] + b"\x03\x9f" + GOOD[4:], "file.bin")


def test_the_calibration_data_is_found_in_the_firmware():
    data = check_firmware(GOOD, "file.bin").init_data()
    assert len(data) == 128
    assert data[:4] == b"\x05\x00\x04\x02"
    at = GOOD.index(data)
    without = with_md5(GOOD[:at] + bytes(128) + GOOD[at + 128 :])
    with pytest.raises(CommandError, match="calibration data"):
        check_firmware(without, "file.bin").init_data()


@pytest.mark.parametrize("size", [0, 1, 7, 9, 0x6000, 0x8000, 0x8FFE, 0x9000, 0x50000, -16, -1])
def test_a_file_that_is_cut_short_is_refused(size):
    line = refusal(GOOD[:size])
    assert "cut short" in line or "ends within" in line or "not firmware" in line


def test_a_file_with_something_behind_it_is_refused():
    assert "download it again" in refusal(GOOD + b"\xff")


def test_every_byte_is_covered_by_a_sum():
    for at in (5, 0x100, 0x6A20, 0x8F00, LENGTH_AT, 0x9100, len(GOOD) - 20, len(GOOD) - 1):
        refusal(GOOD[:at] + bytes([GOOD[at] ^ 0x10]) + GOOD[at + 1 :])


def test_what_the_boot_rom_would_not_load_is_refused_whatever_the_md5():
    at = 0x120
    assert "damaged" in refusal(with_md5(GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :]))


def test_firmware_for_an_esp32_is_named_as_such():
    assert "ESP32" in refusal(
        stand_in_firmware(segments=((0x3FFF0030, 0x400), (0x40078000, 0x400)))
    )


def test_segments_outside_of_ram_are_refused():
    start, size = SEGMENTS[0]
    for wrong in ((start - 4, size), (start, 0x8004), (0, 64), (0x3FFFFFFC, 8)):
        assert "not for an ESP8266" in refusal(stand_in_firmware(segments=(wrong,)))


def test_an_arduino_sketch_is_named_as_such():
    sketch = bytearray(GOOD)
    sketch[LENGTH_AT : LENGTH_AT + 4] = b"\x36\x41\x00\xf0"
    sketch = bytes(sketch).replace(b"MicroPython", b"Arduino1.0a")
    assert "Arduino" in refusal(sketch)


def test_the_build_without_romfs_is_refused_and_the_right_one_named():
    line = refusal(stand_in_firmware(has_partition=False))
    assert "no ROMFS partition" in line
    assert "ESP8266_GENERIC-FLASH_2M_ROMFS" in line


def test_a_romfs_partition_elsewhere_is_refused():
    moved = GOOD.replace(struct.pack("<I", 0x402B0000), struct.pack("<I", 0x402C0000))
    assert "at another place" in refusal(with_md5(moved))


def test_a_firmware_that_reaches_into_the_partition_is_refused():
    assert "reaches into" in refusal(stand_in_firmware(code_bytes=0xB0000 - 0x9000))


def test_what_is_no_firmware_at_all_is_refused():
    for data in (b"", b"\xd2\xcd\x31" + bytes(100000), b"<html>404</html>", b"PK\x03\x04"):
        assert "not firmware" in refusal(data)


# What is said of such files where an application is wanted


SKETCH = struct.pack("<BBBBIII", 0xE9, 1, 2, 0x40, 0x4010F480, 0x4010F000, 3000) + bytes(5000)
ESP32 = (
    struct.pack("<BBBBI", 0xE9, 5, 2, 0x20, 0x4008125C)
    + bytes(16)
    + struct.pack("<II", 0x3F400020, 8)
    + bytes(99)
)


def test_what_begins_like_firmware_is_told_for_what_it_is():
    flash = "for a flash of 1 MiB in mode DIO"
    for data, words in (
        (
            GOOD[:2] + b"\x02\x20" + GOOD[4:],
            f"file.bin is MicroPython {VERSION}, complete, {flash}",
        ),
        (GOOD[:2] + b"\x04\x20" + GOOD[4:], "made for a kind of flash that does not exist"),
        (GOOD[:2] + b"\x02\xf0" + GOOD[4:], "made for a kind of flash that does not exist"),
        (GOOD[:-1], "cut short or was changed"),
        (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "its MD5 does not match"),
        (SKETCH, "an Arduino sketch, and boards with mpota run MicroPython"),
        (ESP32, "is it for an ESP32?"),
        (b"\xe9", "cut short"),
    ):
        line = describe(data, "file.bin")
        assert words in line and "\n" not in line


def test_upload_and_inspect_refuse_such_files_in_these_words(tmp_path):
    path = tmp_path / "file.bin"
    for data in (GOOD, SKETCH, GOOD[:-1]):
        path.write_bytes(data)
        for arguments in (["upload", "-i", "127.0.0.1"], ["inspect"]):
            result = CliRunner().invoke(app, [*arguments, str(path)])
            assert result.exit_code == 1
            assert result.stderr == f"error: {describe(data, 'file.bin')}\n"
