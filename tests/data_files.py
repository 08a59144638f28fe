"""Data images as different tools make them (littlefs, tar), and other file systems."""

import io
import struct
import tarfile

from littlefs import LittleFS, UserContext

VERSIONS = {"2.0": 0x00020000, "2.1": 0x00020001}
# What the images hold.
FILES = {
    "index.html": b"<p>" * 300,
    "fonts/a.bin": bytes(range(256)) * 50,
    "fonts/deep/er/b": b"b",
    "empty": b"",
}
FOLDERS = ("logs",)  # without a file


def littlefs_image(
    files: dict[str, bytes] | None = None,
    *,
    block_bytes: int = 4096,
    blocks: int = 16,
    version: str = "2.1",
    name_max: int = 255,
    is_mklittlefs: bool = False,
) -> bytes:
    """Return an image of *files*.

    With *is_mklittlefs*, as that program makes it for the ESP8266: names of 32 characters at most,
    and a time at each file.
    """
    buffer = bytearray(b"\xff" * (block_bytes * blocks))
    fs = LittleFS(
        context=UserContext(buffer=buffer),
        mount=False,
        block_size=block_bytes,
        block_count=blocks,
        read_size=64,
        prog_size=64,
        cache_size=64,
        lookahead_size=64,
        name_max=32 if is_mklittlefs else name_max,
        disk_version=VERSIONS[version],
    )
    fs.format()
    fs.mount()
    for folder in FOLDERS if files is None else ():
        fs.makedirs(folder)
    for name, content in (FILES if files is None else files).items():
        fs.makedirs(name.rpartition("/")[0] or "/", exist_ok=True)
        with fs.open(name, "wb") as file:
            file.write(content)
        if is_mklittlefs:
            fs.setattr(name, "t", struct.pack("<I", 1_700_000_000))
    fs.unmount()
    return bytes(buffer)


def images() -> dict[str, bytes]:
    """Return an image of each kind, by a name that tells which."""
    return {
        f"{version}-{block_bytes}-{'mklittlefs' if mk else 'python'}": littlefs_image(
            version=version, block_bytes=block_bytes, is_mklittlefs=mk
        )
        for version in VERSIONS
        for block_bytes in (4096, 8192)
        for mk in (False, True)
    }


def tar_image(files: dict[str, bytes] | None = None, kind: int = tarfile.USTAR_FORMAT) -> bytes:
    """Return a tar of *files*, in one of the kinds that Python's tarfile makes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as made:
        for name, content in (FILES if files is None else files).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def spiffs_image(blocks: int = 64, block_bytes: int = 4096, page_bytes: int = 256) -> bytes:
    """Return a SPIFFS image with one file, laid out as mkspiffs does it for the ESP8266."""
    image = bytearray(b"\xff" * (blocks * block_bytes))
    for number in range(blocks):
        # The table at a block's beginning ends with a magic number and a count of erases.
        magic = 0x20140529 ^ page_bytes ^ (blocks - number)
        end = number * block_bytes + page_bytes
        struct.pack_into("<HH", image, end - 4, magic & 0xFFFF, 0)
    # The table has the header of object 1, in page 1, and its data, in page 2.
    struct.pack_into("<HH", image, 0, 0x8001, 0x0001)
    struct.pack_into("<HHB", image, page_bytes, 0x8001, 0, 0xF8)
    image[page_bytes + 13 : page_bytes + 25] = b"/index.html\0"
    struct.pack_into("<HHB", image, 2 * page_bytes, 0x0001, 0, 0xFC)
    image[2 * page_bytes + 5 : 2 * page_bytes + 10] = b"hello"
    return bytes(image)


def fat_image(size: int = 65536) -> bytes:
    """Return the beginning of a FAT12 file system, as mkfs.fat makes it, in *size* bytes."""
    image = bytearray(size)
    image[:3] = b"\xeb\x3c\x90"
    image[3:11] = b"mkfs.fat"
    struct.pack_into("<HBHBHHB", image, 11, 512, 4, 1, 2, 512, size // 512, 0xF8)
    image[54:62] = b"FAT12   "
    image[510:512] = b"\x55\xaa"
    return bytes(image)
