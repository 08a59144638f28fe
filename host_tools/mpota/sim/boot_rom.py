"""The chip's boot ROM in its serial mode, and the stub that esptool runs there, as esptool sees
them. The protocol is described in esptool's documentation, "Serial Protocol".
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from mpota.sim import slip
from mpota.sim.nor_flash import SECTOR_BYTES, NorFlash

# Commands. Those from 0x0B on are the stub's.
FLASH_BEGIN, FLASH_DATA, FLASH_END = 0x02, 0x03, 0x04
MEM_BEGIN, MEM_END, MEM_DATA = 0x05, 0x06, 0x07
SYNC, WRITE_REG, READ_REG = 0x08, 0x09, 0x0A
SPI_SET_PARAMS, SPI_ATTACH, CHANGE_BAUDRATE = 0x0B, 0x0D, 0x0F
FLASH_DEFL_BEGIN, FLASH_DEFL_DATA, FLASH_DEFL_END = 0x10, 0x11, 0x12
SPI_FLASH_MD5, GET_SECURITY_INFO = 0x13, 0x14
ERASE_FLASH, ERASE_REGION, READ_FLASH, RUN_USER_CODE = 0xD0, 0xD1, 0xD2, 0xD3

# What a SYNC frame carries, and its beginning as it goes over the line.
SYNC_DATA = b"\x07\x07\x12\x20" + 32 * b"\x55"
SYNC_FRAME_START = slip.END + struct.pack("<BBH", 0, SYNC, len(SYNC_DATA))

# The two bytes of status that end a reply.
_OK = b"\0\0"
_INVALID = b"\x01\x05"
_FAILED = b"\x01\x06"
_BAD_CHECKSUM = b"\x01\x07"
_STUB_BAD_LENGTH = b"\xc0\0"
_STUB_BAD_CHECKSUM = b"\xc1\0"
_STUB_NOT_IN_FLASH_MODE = b"\xc6\0"
_STUB_INFLATE_ERROR = b"\xc7\0"
_STUB_NOT_ENOUGH_DATA = b"\xc8\0"
_STUB_TOO_MUCH_DATA = b"\xc9\0"
_STUB_UNKNOWN = b"\xff\0"

_SYNC_REPLIES = 8
_ROM_SYNC_VALUE = 0x20120707  # any but 0, by which the stub is told from the ROM
_DATA_HEADER_BYTES = 16
_MAGIC_AT = 0x40001000
_EFUSE_AT = 0x3FF00050
_UART_CLKDIV_AT = 0x60000014
_APB_HZ = 52_000_000
_SPI_AT = 0x60000200
_SPI_COMMAND, _SPI_ADDRESS, _SPI_USER1, _SPI_USER2, _SPI_DATA = (
    _SPI_AT, _SPI_AT + 0x04, _SPI_AT + 0x20, _SPI_AT + 0x24, _SPI_AT + 0x40,
)  # fmt: skip
_SPI_START = 1 << 18
_READ_ID, _READ_SFDP = 0x9F, 0x5A
_SECTORS_PER_BLOCK = 16

ESP8266_MAGIC = 0xFFF0C101


@dataclass(frozen=True)
class Chip:
    """What the boot ROM tells about the chip and about its flash chip.

    *embedded_flash* makes it an ESP8285 with 2 MiB. *flash_id* is the id that the flash chip tells:
    the manufacturer in the lowest byte, the size in the highest one, as a power of 2.
    """

    mac: bytes
    flash_id: int
    magic: int = ESP8266_MAGIC
    embedded_flash: bool = False

    def efuses(self) -> tuple[int, int, int, int]:
        """Return the four words of efuses, with the MAC and the kind of chip."""
        word0 = self.mac[5] << 24
        word1 = int.from_bytes(self.mac[3:5], "big")
        word3 = int.from_bytes(self.mac[:3], "big")
        if self.embedded_flash:
            return word0, word1, 1 << 16, word3 | 1 << 25
        return word0, word1, 0, word3


class _Writer:
    """A region that is being written; its sectors are erased when the first byte of each comes."""

    def __init__(self, flash: NorFlash, offset: int, size: int, erases: bool) -> None:
        self._flash, self._at, self.left = flash, offset, size
        self._erased_to = offset // SECTOR_BYTES * SECTOR_BYTES if erases else offset + size

    def write(self, data: bytes) -> None:
        end = self._at + len(data)
        if end > self._erased_to:
            self._flash.erase(self._erased_to, end - self._erased_to)
            self._erased_to = -(-end // SECTOR_BYTES) * SECTOR_BYTES
        self._flash.program(self._at, data)
        self._at = end
        self.left -= len(data)


class BootRom:
    """One stay in the serial boot mode. Bytes from the line go to `feed`, replies to *send*.

    *baud* is the speed at which the first frame came: the ROM measures it.
    """

    def __init__(
        self, flash: NorFlash, chip: Chip, send: Callable[[bytes], None], baud: int = 115200
    ) -> None:
        self.baud = baud
        self.has_spoken = False  # whether a command was understood
        self.has_left = False  # whether it was told to start the program in flash
        self.is_stub = False
        self._flash, self._chip, self._send = flash, chip, send
        self._frames = slip.FrameReader()
        self._registers: dict[int, int] = {}
        self._loaded: list[range] = []  # regions of RAM that something was loaded to
        self._writer: _Writer | None = None
        self._inflater: zlib._Decompress | None = None
        self._reading: _Reading | None = None

    def feed(self, data: bytes) -> None:
        """Read bytes from the line and answer them."""
        for packet in self._frames.feed(data):
            if self.has_left:
                return
            if self._reading is not None and len(packet) == 4:
                self._read_on(packet)
            else:  # any other packet ends a reading
                self._reading = None
                self._take(packet)

    # Requests and replies

    def _take(self, packet: bytes) -> None:
        if len(packet) < 8:
            return
        direction, op, size, checksum = struct.unpack_from("<BBHI", packet)
        data = packet[8:]
        if direction != 0:
            return
        if len(data) != size:
            self._reply(op, status=_STUB_BAD_LENGTH if self.is_stub else _INVALID)
            return
        self.has_spoken = True
        if op in (FLASH_DATA, MEM_DATA, FLASH_DEFL_DATA):
            data, is_good = data[_DATA_HEADER_BYTES:], _sum(data[_DATA_HEADER_BYTES:]) == checksum
            if not is_good:
                self._reply(op, status=_STUB_BAD_CHECKSUM if self.is_stub else _BAD_CHECKSUM)
                return
        action = _ROM_ACTIONS.get(op)
        if self.is_stub:
            action = _STUB_ACTIONS.get(op, action)
        if action is None:
            self._reply(op, status=_STUB_UNKNOWN if self.is_stub else _INVALID)
            return
        try:
            action(self, op, data)
        except (struct.error, ValueError):  # too few parameters, or a size beyond the flash
            self._reply(op, status=_STUB_BAD_LENGTH if self.is_stub else _INVALID)

    def _reply(self, op: int, value: int = 0, body: bytes = b"", status: bytes = _OK) -> None:
        body += status
        self._send(slip.frame(struct.pack("<BBHI", 1, op, len(body), value) + body))

    # Both

    def _sync(self, op: int, data: bytes) -> None:
        for _ in range(_SYNC_REPLIES):
            self._reply(op, 0 if self.is_stub else _ROM_SYNC_VALUE)

    def _read_register(self, op: int, data: bytes) -> None:
        (address,) = struct.unpack_from("<I", data)
        self._reply(op, self._register(address))

    def _register(self, address: int) -> int:
        if address == _MAGIC_AT:
            return self._chip.magic
        if address in range(_EFUSE_AT, _EFUSE_AT + 16, 4):
            return self._chip.efuses()[(address - _EFUSE_AT) // 4]
        if address == _UART_CLKDIV_AT:
            return _APB_HZ // self.baud
        return self._registers.get(address, 0)

    def _write_register(self, op: int, data: bytes) -> None:
        address, value, mask, _ = struct.unpack_from("<IIII", data)
        self._registers[address] = self._register(address) & ~mask | value & mask
        if address == _SPI_COMMAND and value & _SPI_START:
            self._registers[_SPI_COMMAND] = 0  # it is done at once
            self._registers[_SPI_DATA] = self._flash_register()
        self._reply(op)

    def _flash_register(self) -> int:
        # What the flash chip answers to the command in the SPI registers; status registers are 0.
        command = self._registers.get(_SPI_USER2, 0) & 0xFF
        if command == _READ_ID:
            return self._chip.flash_id
        if command == _READ_SFDP:
            address = self._registers.get(_SPI_ADDRESS, 0) >> 8
            return struct.unpack("<I", b"SFDP")[0] if address == 0 else self._chip.flash_id & 0xFF
        return 0

    def _mem_begin(self, op: int, data: bytes) -> None:
        size, _, _, address = struct.unpack_from("<IIII", data)
        self._loaded.append(range(address, address + size))
        self._reply(op)

    def _mem_data(self, op: int, data: bytes) -> None:
        self._reply(op, status=_OK if self._loaded else _FAILED)

    def _mem_end(self, op: int, data: bytes) -> None:
        stay, entry = struct.unpack_from("<II", data)
        if not stay and not any(entry in region for region in self._loaded):
            self._reply(op, status=_FAILED)  # on the chip it would crash
            return
        self._reply(op)
        if not stay:
            self.is_stub = True
            self._send(slip.frame(b"OHAI"))

    def _fits(self, size: int) -> int:
        if size > len(self._flash):
            raise ValueError("more than the flash has")
        return size

    # The ROM

    def _rom_flash_begin(self, op: int, data: bytes) -> None:
        size, blocks, block_bytes, offset = struct.unpack_from("<IIII", data)
        self._fits(size)
        # The ROM counts the sectors before the first whole block twice; esptool makes up for it.
        sectors = -(-size // SECTOR_BYTES)
        before = _SECTORS_PER_BLOCK - offset // SECTOR_BYTES % _SECTORS_PER_BLOCK
        self._flash.erase(offset, (sectors + min(before, sectors)) * SECTOR_BYTES)
        self._writer = _Writer(self._flash, offset, self._fits(blocks * block_bytes), erases=False)
        self._reply(op)

    def _rom_flash_data(self, op: int, data: bytes) -> None:
        if self._writer is None or len(data) > self._writer.left:
            self._reply(op, status=_FAILED)
            return
        self._writer.write(data)
        self._reply(op)

    def _rom_flash_end(self, op: int, data: bytes) -> None:
        self._reply(op)
        self.has_left = True

    # The stub

    def _begin(self, op: int, data: bytes) -> None:
        size, _, _, offset = struct.unpack_from("<IIII", data)
        self._writer = _Writer(self._flash, offset, self._fits(size), erases=True)
        self._inflater = zlib.decompressobj() if op == FLASH_DEFL_BEGIN else None
        self._reply(op)

    def _flash_data(self, op: int, data: bytes) -> None:
        if self._writer is None or self._inflater is not None:
            self._reply(op, status=_STUB_NOT_IN_FLASH_MODE)
            return
        self._writer.write(data[: self._writer.left])  # the last block is filled up by esptool
        self._reply(op)

    def _flash_deflated_data(self, op: int, data: bytes) -> None:
        if self._writer is None or self._inflater is None:
            self._reply(op, status=_STUB_NOT_IN_FLASH_MODE)
            return
        try:
            inflated = self._inflater.decompress(data)
        except zlib.error:
            self._reply(op, status=_STUB_INFLATE_ERROR)
            return
        if len(inflated) > self._writer.left:
            self._reply(op, status=_STUB_TOO_MUCH_DATA)
            return
        self._writer.write(inflated)
        self._reply(op)

    def _flash_end(self, op: int, data: bytes) -> None:
        (stay,) = struct.unpack_from("<I", data)
        is_short = self._writer is not None and self._writer.left > 0
        self._writer = self._inflater = None
        self._reply(op, status=_STUB_NOT_ENOUGH_DATA if is_short else _OK)
        self.has_left = not stay

    def _acknowledge(self, op: int, data: bytes) -> None:
        self._reply(op)

    def _change_baud_rate(self, op: int, data: bytes) -> None:
        self._reply(op)  # still at the old one
        (self.baud,) = struct.unpack_from("<I", data)

    def _md5(self, op: int, data: bytes) -> None:
        offset, size = struct.unpack_from("<II", data)
        self._reply(op, body=self._flash.md5(offset, self._fits(size)))

    def _erase_flash(self, op: int, data: bytes) -> None:
        self._flash.erase(0, len(self._flash))
        self._reply(op)

    def _erase_region(self, op: int, data: bytes) -> None:
        offset, size = struct.unpack_from("<II", data)
        self._flash.erase(offset, self._fits(size))
        self._reply(op)

    def _run_user_code(self, op: int, data: bytes) -> None:
        self.has_left = True  # without a reply

    def _read_flash(self, op: int, data: bytes) -> None:
        offset, size, block_bytes, in_flight = struct.unpack_from("<IIII", data)
        if block_bytes == 0:
            raise ValueError("blocks of no bytes")
        self._fits(size)
        self._reply(op)
        self._reading = _Reading(offset, size, block_bytes, block_bytes * in_flight)
        self._read_on(struct.pack("<I", 0))

    def _read_on(self, acknowledgement: bytes) -> None:
        # Each packet from the host is the number of bytes that it has.
        reading = self._reading
        assert reading is not None
        (acknowledged,) = struct.unpack("<I", acknowledgement)
        while reading.sent < min(reading.size, acknowledged + reading.window):
            length = min(reading.block_bytes, reading.size - reading.sent)
            self._send(slip.frame(self._flash.read(reading.offset + reading.sent, length)))
            reading.sent += length
        if acknowledged >= reading.size:
            self._reading = None
            self._send(slip.frame(self._flash.md5(reading.offset, reading.size)))


@dataclass
class _Reading:
    """A region that is being sent to the host, at most *window* bytes ahead of what it has."""

    offset: int
    size: int
    block_bytes: int
    window: int
    sent: int = 0


def _sum(data: bytes) -> int:
    total = 0xEF
    for byte in data:
        total ^= byte
    return total


_ROM_ACTIONS = {
    FLASH_BEGIN: BootRom._rom_flash_begin,
    FLASH_DATA: BootRom._rom_flash_data,
    FLASH_END: BootRom._rom_flash_end,
    MEM_BEGIN: BootRom._mem_begin,
    MEM_DATA: BootRom._mem_data,
    MEM_END: BootRom._mem_end,
    SYNC: BootRom._sync,
    READ_REG: BootRom._read_register,
    WRITE_REG: BootRom._write_register,
}
_STUB_ACTIONS = {
    FLASH_BEGIN: BootRom._begin,
    FLASH_DATA: BootRom._flash_data,
    FLASH_END: BootRom._flash_end,
    SPI_SET_PARAMS: BootRom._acknowledge,
    SPI_ATTACH: BootRom._acknowledge,
    CHANGE_BAUDRATE: BootRom._change_baud_rate,
    FLASH_DEFL_BEGIN: BootRom._begin,
    FLASH_DEFL_DATA: BootRom._flash_deflated_data,
    FLASH_DEFL_END: BootRom._flash_end,
    SPI_FLASH_MD5: BootRom._md5,
    ERASE_FLASH: BootRom._erase_flash,
    ERASE_REGION: BootRom._erase_region,
    READ_FLASH: BootRom._read_flash,
    RUN_USER_CODE: BootRom._run_user_code,
}
