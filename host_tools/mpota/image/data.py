"""Images of data files, for a board's folder /data: made of a folder, and read.

An image is a tar, or a littlefs. What a board unpacks, and what it refuses, is in docs/SPEC.md.
"""

import contextlib
import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from littlefs import LittleFS, LittleFSError, UserContext

from mpota.errors import CommandError, DamagedImageError
from mpota.image import romfs, signature, trailer
from mpota.image.directory import (
    PackedImage,
    data_directory_of,
    pack_directory,
    read_directory,
)

TAR, LITTLEFS = "tar", "littlefs"
# The kind of image that a file's name asks for.
SUFFIXES = {".tar": TAR, ".bin": LITTLEFS}
NAME_LIMIT = 100  # characters of a file's whole name
ENTRY_LIMIT = 1000  # files and folders

_DIGEST_FILE = ".mpota"  # which the board writes: where its folder came from
_DIGEST_DIGITS = 32
_BLOCK_BYTES = 4096
_LEAST_BLOCKS = 8
_DISK_VERSION = 0x00020000  # what every littlefs of version 2 reads
_TAR_BLOCK_BYTES = 512
_MAKE = "make one with 'mpota mkdata'"
# In a littlefs: magic, then behind a tag and the version the size of a block and their number.
_LITTLEFS_MAGIC = slice(8, 16)
_GEOMETRY = struct.Struct("<II")
_GEOMETRY_AT = 24
GZIP, _ROMFS = b"\x1f\x8b", b"\xd2\xcd\x31"


@dataclass(frozen=True)
class DataImage:
    """A data image that was read: `files` maps names to contents, `sha256` is in hex.

    `sha256` is of what stands before the signature, which is None where there is none.
    """

    kind: str
    files: dict[str, bytes] = field(repr=False)
    sha256: str
    signature: bytes | None = field(repr=False)


def pack(directory: Path, kind: str, private_key: RSAPrivateKey | None = None) -> bytes:
    """Make an image of the files in `directory`, signed with a `private_key`.

    Files whose names begin with a dot, and keys, are left out. Raises CommandError.
    """
    if not directory.is_dir():
        raise CommandError(f"{directory} is no directory: give the one with the data files")
    data = build(read_directory(directory, _check_name), kind)
    return signature.sign(data, private_key) if private_key else data


def pack_together(
    directory: Path,
    data_directory: Path | None,
    private_key: RSAPrivateKey | None,
    **options: Any,
) -> tuple[PackedImage, bytes | None]:
    """Make an image of the application in `directory`, and one of the data that belong to it.

    `data_directory` None: the one that pyproject.toml names; without one there are no such data.
    `options` are further ones of `pack_directory`. Raises CommandError.
    """
    data_directory = data_directory or data_directory_of(directory)
    data = pack(data_directory, TAR, private_key) if data_directory else None
    packed = pack_directory(
        directory,
        data_directory=data_directory,
        data_digest=digest(data) if data else None,
        private_key=private_key,
        **options,
    )
    return packed, data


def build(files: Mapping[str, bytes], kind: str) -> bytes:
    """Make an image of `files`, name to content: the same input always gives the same bytes."""
    for name in files:
        _check_name(name)
    if len(files) > ENTRY_LIMIT:
        raise CommandError(f"{len(files)} files are too many: a board takes {ENTRY_LIMIT}")
    return _tar(files) if kind == TAR else _littlefs(files)


def digest(data: bytes) -> str:
    """Give what the MANIFEST of an application says of its data image."""
    return hashlib.sha256(_split(data)[0]).hexdigest()[:_DIGEST_DIGITS]


def _split(data: bytes) -> tuple[bytes, bytes | None]:
    """Take an image apart into what was signed and the signature; None where it has none."""
    if data[_LITTLEFS_MAGIC] == b"littlefs":
        block_bytes, blocks = _geometry(data)
        if block_bytes * blocks == len(data):
            return data, None
    return trailer.split(data)


def _geometry(data: bytes) -> tuple[int, int]:
    """Give the size of a block of a littlefs, and how many there are."""
    block_bytes, blocks = _GEOMETRY.unpack_from(data.ljust(_GEOMETRY_AT + 8), _GEOMETRY_AT)
    return block_bytes, blocks


def read(data: bytes) -> DataImage:
    """Take an image apart. Raises DamagedImageError for what a board would refuse."""
    content, made = _split(data)
    if content[_LITTLEFS_MAGIC] == b"littlefs":
        kind, files = LITTLEFS, _read_littlefs(content)
    elif is_tar(content):
        kind, files = TAR, _read_tar(content)
    else:
        raise DamagedImageError(what_it_is(data))
    for name in files:
        try:
            _check_name(name)
        except CommandError as error:
            raise DamagedImageError(str(error)) from error
    return DataImage(kind, files, hashlib.sha256(content).hexdigest(), made)


def is_data(data: bytes) -> bool:
    """Tell whether it begins as a data image does."""
    return data[_LITTLEFS_MAGIC] == b"littlefs" or is_tar(data)


def is_tar(data: bytes) -> bool:
    """Tell whether it begins with the header of a tar."""
    try:
        tarfile.TarInfo.frombuf(data[:_TAR_BLOCK_BYTES], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def what_it_is(data: bytes) -> str:
    """Tell what a file that is no data image seems to be, and what to do."""
    if data.startswith(_ROMFS):
        return "it is an application image, not data: send it without -s"
    if data.startswith(GZIP):
        return "it is a gzip: 'mpota inspect' looks at what is in it, unpacked"
    if data.startswith(b"PK\x03\x04"):
        return f"it is a zip: {_MAKE} of what is in it"
    if data[:1] in b"\xeb\xe9" and data[510:512] == b"\x55\xaa":
        return f"it is a FAT file system, which boards do not take: {_MAKE} of its files"
    if data[:2] == b"\x01\x80" or _is_spiffs(data):
        return (
            f"it is SPIFFS, which boards do not take: {_MAKE} of its files, or set "
            "board_build.filesystem = littlefs in platformio.ini"
        )
    return f"it is neither a tar nor a littlefs: {_MAKE} of a folder"


def _is_spiffs(data: bytes) -> bool:
    """Tell whether the first block ends its table with the magic number of an image this large."""
    for page_bytes in (256, 512):
        for block_bytes in (4096, 8192, 65536):
            magic = (0x20140529 ^ page_bytes ^ len(data) // block_bytes) & 0xFFFF
            if data[page_bytes - 4 : page_bytes - 2] == magic.to_bytes(2, "little"):
                return True
    return False


def _check_name(name: str) -> None:
    parts = name.split("/")
    if parts[0] == _DIGEST_FILE:
        raise CommandError(f"the file name {name!r} is taken: a board has a file of its own there")
    if len(name) > NAME_LIMIT or not all(map(romfs.is_part, parts)):
        raise CommandError(
            f"the file name {name!r} does not fit: rename it (at most {NAME_LIMIT} characters of "
            "A-Z a-z 0-9 . _ - /)"
        )
    if len(parts) > romfs.FOLDER_LIMIT + 1:
        raise CommandError(
            f"the file {name} is too deep: move it up, the board takes {romfs.FOLDER_LIMIT} "
            "folders one in the other"
        )


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    # tarfile fills up to 10 KB; the end are two blocks of zeros.
    data = buffer.getvalue().rstrip(b"\0")
    return data + bytes(-len(data) % _TAR_BLOCK_BYTES + 2 * _TAR_BLOCK_BYTES)


def _littlefs(files: Mapping[str, bytes]) -> bytes:
    blocks = _LEAST_BLOCKS + sum(2 + len(content) // _BLOCK_BYTES for content in files.values())
    buffer = bytearray(b"\xff" * (blocks * _BLOCK_BYTES))
    fs = LittleFS(
        context=UserContext(buffer=buffer),
        mount=False,
        block_size=_BLOCK_BYTES,
        block_count=blocks,
        disk_version=_DISK_VERSION,
    )
    fs.format()
    fs.mount()
    for name, content in sorted(files.items()):
        fs.makedirs(name.rpartition("/")[0] or "/", exist_ok=True)
        with fs.open(name, "wb") as file:
            file.write(content)
    fs.unmount()
    return bytes(buffer)


def _read_tar(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as made:
            for member in made:
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                content = made.extractfile(member) if member.isreg() else None
                if content is None:
                    raise DamagedImageError(f"{name} in it is no regular file: {_MAKE}")
                if name in files:
                    raise DamagedImageError(f"{name} is there twice: {_MAKE}")
                files[name] = content.read()
    except tarfile.TarError as error:
        raise DamagedImageError(f"it is a damaged tar ({error})") from error
    return files


def _read_littlefs(data: bytes) -> dict[str, bytes]:
    block_bytes, blocks = _geometry(data)
    if not block_bytes or block_bytes * blocks != len(data):
        raise DamagedImageError("it is a littlefs that is cut short, or more follows it")
    fs = LittleFS(
        context=UserContext(buffer=bytearray(data)),
        mount=False,
        block_size=block_bytes,
        block_count=blocks,
    )
    files = {}
    try:
        fs.mount()
        for folder, _, names in fs.walk("/"):
            for name in names:
                full = f"{folder.rstrip('/')}/{name}"
                with fs.open(full, "rb") as file:
                    files[full.lstrip("/")] = file.read()
    except LittleFSError as error:
        raise DamagedImageError(f"it is a littlefs that cannot be read ({error})") from error
    finally:
        with contextlib.suppress(LittleFSError):
            fs.unmount()
    return files
