"""littlefs, the file system of a board: make one that holds files, and read its files."""

import contextlib
from collections.abc import Mapping

from littlefs import LittleFS, LittleFSError, UserContext

BLOCK_BYTES = 4096  # a sector of the flash


def build(files: Mapping[str, bytes], size_bytes: int, *, disk_version: int = 0) -> bytes:
    """Return a littlefs of *size_bytes* that holds *files*: name → content.

    *disk_version* is the version of the format, 0 for the newest.
    """
    buffer = bytearray(b"\xff" * size_bytes)
    fs = _open(buffer, BLOCK_BYTES, disk_version)
    fs.format()
    fs.mount()
    for name, content in sorted(files.items()):
        fs.makedirs(name.rpartition("/")[0] or "/", exist_ok=True)
        with fs.open(name, "wb") as file:
            file.write(content)
    fs.unmount()
    return bytes(buffer)


def read(data: bytes, block_bytes: int = BLOCK_BYTES) -> dict[str, bytes]:
    """Return every file of the littlefs in *data*: absolute name → content.

    Raises LittleFSError if it cannot be read.
    """
    fs = _open(bytearray(data), block_bytes, 0)
    fs.mount()  # a littlefs that could not be mounted must not be unmounted
    files = {}
    try:
        for folder, _, names in fs.walk("/"):
            for name in names:
                full = f"{folder.rstrip('/')}/{name}"
                with fs.open(full, "rb") as file:
                    files[full] = file.read()
    finally:
        with contextlib.suppress(LittleFSError):
            fs.unmount()
    return files


def _open(buffer: bytearray, block_bytes: int, disk_version: int) -> LittleFS:
    return LittleFS(
        context=UserContext(buffer=buffer),
        mount=False,
        block_size=block_bytes,
        block_count=len(buffer) // block_bytes,
        disk_version=disk_version,
    )
