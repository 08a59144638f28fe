"""The board's flash image: made, and read back, on the host.

The map is that of the stock MicroPython build for 2 MiB of flash or more: littlefs from 1 MiB to
20 KiB before the end, in sectors of 4 KiB.
"""

from pathlib import Path

from littlefs import LittleFS, LittleFSError, UserContext

from mpota.errors import CommandError

FLASH_SIZE_BYTES = 4 * 1024 * 1024
SECTOR_BYTES = 4096
FILE_SYSTEM_START = 1024 * 1024
FILE_SYSTEM_END = FLASH_SIZE_BYTES - 20 * 1024
_BLOCKS = (FILE_SYSTEM_END - FILE_SYSTEM_START) // SECTOR_BYTES


def _littlefs(buffer: bytearray, mount: bool) -> LittleFS:
    return LittleFS(
        context=UserContext(buffer=buffer),
        mount=mount,
        block_size=SECTOR_BYTES,
        block_count=_BLOCKS,
    )


def create_flash(path: Path, files: dict[str, bytes]) -> None:
    """Write a flash image to *path* whose file system holds *files* (absolute name → content)."""
    buffer = bytearray(b"\xff" * (FILE_SYSTEM_END - FILE_SYSTEM_START))
    fs = _littlefs(buffer, mount=False)
    fs.format()
    fs.mount()
    for name, content in sorted(files.items()):
        fs.makedirs(name.rpartition("/")[0] or "/", exist_ok=True)
        with fs.open(name, "wb") as file:
            file.write(content)
    fs.unmount()
    before = b"\xff" * FILE_SYSTEM_START
    after = b"\xff" * (FLASH_SIZE_BYTES - FILE_SYSTEM_END)
    path.write_bytes(before + bytes(buffer) + after)


def read_flash(path: Path) -> dict[str, bytes]:
    """Return every file of the image's file system: absolute name → content.

    Raises CommandError when there is no readable file system in it.
    """
    image = path.read_bytes()
    if len(image) != FLASH_SIZE_BYTES:
        raise CommandError(
            f"{path} is {len(image)} bytes, not a flash image of {FLASH_SIZE_BYTES}: "
            "name another file, or delete it to start anew"
        )
    fs = _littlefs(bytearray(image[FILE_SYSTEM_START:FILE_SYSTEM_END]), mount=False)
    try:
        fs.mount()
    except LittleFSError as e:
        raise CommandError(f"{path} holds no littlefs: delete it to start anew ({e})") from e
    files = {}
    for folder, _, names in fs.walk("/"):
        for name in names:
            full = f"{folder.rstrip('/')}/{name}"
            with fs.open(full, "rb") as file:
                files[full] = file.read()
    return files
