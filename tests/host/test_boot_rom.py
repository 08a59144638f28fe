"""The chip's boot ROM and stub of the simulated board, as the real esptool finds them."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mpota.sim import slip
from mpota.sim.boot_rom import SYNC, SYNC_DATA, BootRom, Chip
from mpota.sim.nor_flash import NorFlash
from mpota.sim.serial_port import SerialPort

MAC = bytes.fromhex("5ccf7fc0ff02")
FLASH_BYTES = 1024 * 1024
FLASH_ID = 0x1440EF


class Bench:
    """A chip on a pseudo-terminal that stays in its boot mode."""

    def __init__(self, chip: Chip) -> None:
        self.flash = bytearray(b"\xa5" * FLASH_BYTES)
        self.nor = NorFlash(memoryview(self.flash))
        self.port = SerialPort()
        self.rom = BootRom(self.nor, chip, self.port.write)
        self._chip = chip
        self._is_over = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Bench":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        self.port.close()

    def _run(self) -> None:
        while not self._is_over:
            if self.port.wait(0.05):
                self.rom.feed(self.port.read())
            elif self.rom.has_spoken and not self.port.is_open:
                self.rom = BootRom(self.nor, self._chip, self.port.write)

    def esptool(self, *arguments: object) -> str:
        """Run esptool and return all that it says. Raises CalledProcessError."""
        command = [sys.executable, "-m", "esptool", "--port", self.port.name]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=True,
            env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip
        return done.stdout


@pytest.fixture
def bench():
    with Bench(Chip(MAC, FLASH_ID)) as bench:
        yield bench


@pytest.fixture
def data(tmp_path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(b"".join(hashlib.sha256(bytes([n % 251])).digest() * 3 for n in range(900)))
    return path


def test_esptool_detects_chip_mac_and_flash_size(bench):
    said = bench.esptool("flash-id")
    assert "ESP8266EX" in said
    assert "5c:cf:7f:c0:ff:02" in said
    assert "Crystal frequency:  26MHz" in said
    assert "Stub flasher running." in said
    assert "Detected flash size: 1MB" in said


def test_an_esp8285_is_told_by_its_efuses():
    with Bench(Chip(MAC, 0x1540EF, embedded_flash=True)) as bench:
        assert "ESP8285N16" in bench.esptool("flash-id")


def test_esptool_sees_another_chip_by_its_magic():
    with Bench(Chip(MAC, FLASH_ID, magic=0x00F01D83)) as bench:
        assert "ESP32" in bench.esptool("--no-stub", "--after", "no-reset", "read-mac")


@pytest.mark.parametrize("option", ["--compress", "--no-compress"])
def test_esptool_writes_through_the_stub_and_verifies(bench, data, option):
    said = bench.esptool("--baud", 460800, "write-flash", option, "0x2100", data)
    assert "Hash of data verified." in said
    written = data.read_bytes()
    assert bench.flash[0x2100 : 0x2100 + len(written)] == written
    # The sectors that it begins and ends in are erased as a whole, and no others.
    end = -(-(0x2100 + len(written)) // 4096) * 4096
    assert bench.flash[0x2000:0x2100] == b"\xff" * 0x100
    assert bench.flash[0x2100 + len(written) : end].strip(b"\xff") == b""
    assert bench.flash[:0x2000] == b"\xa5" * 0x2000
    assert bench.flash[end:] == b"\xa5" * (FLASH_BYTES - end)
    assert "digest matched" in bench.esptool("verify-flash", "0x2100", data)


@pytest.mark.parametrize("sectors", [1, 5, 16, 23])
@pytest.mark.parametrize("at", [0, 11 * 4096])
def test_the_rom_erases_what_esptool_makes_up_for(bench, data, at, sectors):
    content = data.read_bytes()[: sectors * 4096 - 100]
    data.write_bytes(content)
    bench.esptool("--no-stub", "write-flash", hex(at), data)
    assert bench.flash[at : at + len(content)] == content


def test_esptool_erases_a_region_and_the_whole_flash(bench):
    bench.esptool("erase-region", "0x10000", "0x2000")
    assert bench.flash[0x10000:0x12000] == b"\xff" * 0x2000
    assert bench.flash[0x0F000:0x10000] == bench.flash[0x12000:0x13000] == b"\xa5" * 0x1000
    bench.esptool("erase-flash")
    assert bench.flash == b"\xff" * FLASH_BYTES


def test_esptool_reads_the_flash_back(bench, data, tmp_path):
    bench.flash[0x4000 : 0x4000 + data.stat().st_size] = data.read_bytes()
    bench.esptool("read-flash", "0x4000", data.stat().st_size, tmp_path / "read.bin")
    assert (tmp_path / "read.bin").read_bytes() == data.read_bytes()


def test_a_bit_that_is_0_stays_0_until_its_sector_is_erased():
    image = bytearray(b"\xff" * 8192)
    flash = NorFlash(memoryview(image))
    flash.program(10, b"\xf0")
    flash.program(10, b"\x0f")
    assert image[10] == 0
    flash.erase(4095, 1)
    assert image == b"\xff" * 8192


def test_behind_its_end_a_flash_begins_anew():
    image = bytearray(b"\xff" * 8192)
    flash = NorFlash(memoryview(image))
    flash.program(8190, b"abcd")
    assert (image[8190:], image[:2]) == (b"ab", b"cd")
    assert flash.read(8190, 4) == b"abcd"


class Line:
    """A BootRom without a port, and the packets that it sent."""

    def __init__(self) -> None:
        self.flash = bytearray(b"\xff" * 65536)
        self._sent = b""
        self.rom = BootRom(NorFlash(memoryview(self.flash)), Chip(MAC, FLASH_ID), self._take)

    def _take(self, data: bytes) -> None:
        self._sent += data

    def ask(self, data: bytes) -> list[bytes]:
        self._sent = b""
        self.rom.feed(data)
        return slip.FrameReader().feed(self._sent)


def _request(op: int, data: bytes, checksum: int = 0) -> bytes:
    header = bytes([0, op]) + len(data).to_bytes(2, "little") + checksum.to_bytes(4, "little")
    return slip.frame(header + data)


def test_sync_is_answered_eight_times_and_not_with_0():
    replies = Line().ask(_request(SYNC, SYNC_DATA))
    assert len(replies) == 8
    assert all(reply[:2] == b"\x01\x08" and reply[4:8] != b"\0\0\0\0" for reply in replies)


def test_a_command_that_the_rom_has_not_is_answered_with_status_01_05():
    (reply,) = Line().ask(_request(0x14, b""))
    assert reply[8:] == b"\x01\x05"


def test_data_with_a_wrong_checksum_is_refused_and_not_written():
    line = Line()
    line.ask(_request(0x02, (4096).to_bytes(4, "little") + b"\x01\0\0\0\0\x10\0\0\0\0\0\0"))
    (reply,) = line.ask(_request(0x03, bytes(16) + b"\x11" * 64, checksum=1))
    assert reply[8:] == b"\x01\x07"
    assert line.flash == b"\xff" * 65536


def test_garbage_on_the_line_is_survived():
    line = Line()
    noise = random.Random(11)
    for _ in range(300):
        garbage = noise.randbytes(noise.randrange(60))
        line.ask(garbage)
        line.ask(slip.frame(b"\0" + garbage))
        line.ask(_request(noise.randrange(256), garbage))
        line.rom.is_stub = noise.random() < 0.5
        line.rom.has_left = False
    # Whatever came before, the second frame is understood: the first may end one that had begun.
    line.rom.is_stub = False
    line.ask(_request(SYNC, SYNC_DATA))
    assert len(line.ask(_request(SYNC, SYNC_DATA))) == 8
