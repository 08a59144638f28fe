"""Data images, which hold the files of a board's folder /data: make them, and read them.

A data image is a tar or a littlefs. docs/SPEC.md says which of them a board takes.
"""

import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from littlefs import LittleFSError

from mpota.errors import CommandError, DamagedImageError
from mpota.image import check_path, littlefs, signature, trailer
from mpota.image.directory import (
    PackedImage,
    data_directory_of,
    pack_directory,
    read_directory,
)

TAR, LITTLEFS = "tar", "littlefs"
# The kind of image by the end of its file name.
SUFFIXES = {".tar": TAR, ".bin": LITTLEFS}
ENTRY_LIMIT = 1000  # files and folders

_DIGEST_FILE = ".mpota"  # a file in /data that the board writes: the digest of its image
_DIGEST_DIGITS = 32
_LEAST_BLOCKS = 8
_DISK_VERSION = 0x00020000  # the format that every littlefs of version 2 can read
_TAR_BLOCK_BYTES = 512
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
_MAKE = "make one with 'mpota mkdata'"
# In a littlefs there stand the magic, a tag, the version, the size of a block, and their number.
_LITTLEFS_MAGIC = slice(8, 16)
_GEOMETRY = struct.Struct("<II")
_GEOMETRY_AT = 24
GZIP, _ROMFS = b"\x1f\x8b", b"\xd2\xcd\x31"


@dataclass(frozen=True)
class DataImage:
    """A data image that was read: `files` maps names to contents.

    `sha256` is the digest, in hex, of everything before the signature; `signature` is None if there
    is none.
    """

    kind: str
    files: dict[str, bytes] = field(repr=False)
    sha256: str
    signature: bytes | None = field(repr=False)


def pack(directory: Path, kind: str, private_key: RSAPrivateKey | None = None) -> bytes:
    """Make an image of the files in `directory`; sign it if a `private_key` is given.

    Keys, and files whose names begin with a dot, are left out. Raises CommandError.
    """
    if not directory.is_dir():
        raise CommandError(f"{directory} is not a directory: give the one with the data files")
    data = build(read_directory(directory, _check_name), kind)
    return signature.sign(data, private_key) if private_key else data


def pack_together(
    directory: Path,
    data_directory: Path | None,
    private_key: RSAPrivateKey | None,
    **options: Any,
) -> tuple[PackedImage, bytes | None]:
    """Make an image of the application in `directory`, and one of the data that belong to it.

    If `data_directory` is None, pyproject.toml may name it; if neither does, no data image is made.
    `options` are passed to `pack_directory`. Raises CommandError.
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
    """Make an image of `files`, name → content: the same input always gives the same bytes."""
    for name in files:
        _check_name(name)
    if len(files) > ENTRY_LIMIT:
        raise CommandError(
            f"{len(files)} files are too many: leave some out, a board takes {ENTRY_LIMIT}"
        )
    return _tar(files) if kind == TAR else _littlefs(files)


def digest(data: bytes) -> str:
    """Return the digest by which the MANIFEST of an application names its data image."""
    return hashlib.sha256(_split(data)[0]).hexdigest()[:_DIGEST_DIGITS]


def _split(data: bytes) -> tuple[bytes, bytes | None]:
    """Split an image into the bytes that were signed and the signature, None if it has none."""
    if data[_LITTLEFS_MAGIC] == b"littlefs":
        block_bytes, blocks = _geometry(data)
        if block_bytes * blocks == len(data):
            return data, None
    return trailer.split(data)


def _geometry(data: bytes) -> tuple[int, int]:
    """Return the size of a littlefs's block, and the number of blocks."""
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
    """Tell whether *data* begins as a data image does."""
    return data[_LITTLEFS_MAGIC] == b"littlefs" or is_tar(data)


def is_tar(data: bytes) -> bool:
    """Tell whether *data* begins with the header of a tar."""
    try:
        tarfile.TarInfo.frombuf(data[:_TAR_BLOCK_BYTES], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def what_it_is(data: bytes) -> str:
    """Tell what a file that is not a data image seems to be, and what to do."""
    if data.startswith(_ROMFS):
        return "it is an application image, not data: send it without -s"
    if data.startswith(GZIP):
        return "it is a gzip: 'mpota inspect' tells what is in it"
    if data.startswith(b"PK\x03\x04"):
        return f"it is a zip: {_MAKE} from its files"
    if data[:1] in b"\xeb\xe9" and data[510:512] == b"\x55\xaa":
        return f"it is a FAT file system, which boards do not take: {_MAKE} from its files"
    if data[:2] == b"\x01\x80" or _is_spiffs(data):
        return (
            f"it is SPIFFS, which boards do not take: {_MAKE} from its files, or set "
            "board_build.filesystem = littlefs in platformio.ini"
        )
    return f"it is neither a tar nor a littlefs: {_MAKE} from a folder"


def _is_spiffs(data: bytes) -> bool:
    """Tell whether SPIFFS's magic number, which depends on the image's size, is in its place."""
    for page_bytes in (256, 512):
        for block_bytes in (4096, 8192, 65536):
            magic = (0x20140529 ^ page_bytes ^ len(data) // block_bytes) & 0xFFFF
            if data[page_bytes - 4 : page_bytes - 2] == magic.to_bytes(2, "little"):
                return True
    return False


def _check_name(name: str) -> None:
    parts = name.split("/")
    if parts[0] == _DIGEST_FILE:
        raise CommandError(f"the file name {name!r} is reserved for the board itself: rename it")
    check_path(name, "rename it")


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    # A tar ends with two blocks of zeros. tarfile adds more of them, up to a multiple of 10 KB.
    data = buffer.getvalue().rstrip(b"\0")
    return data + bytes(-len(data) % _TAR_BLOCK_BYTES + 2 * _TAR_BLOCK_BYTES)


def _littlefs(files: Mapping[str, bytes]) -> bytes:
    blocks = _LEAST_BLOCKS + sum(
        2 + len(content) // littlefs.BLOCK_BYTES for content in files.values()
    )
    return littlefs.build(files, blocks * littlefs.BLOCK_BYTES, disk_version=_DISK_VERSION)


def _read_tar(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as made:
            for member in made:
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                # A sparse file claims a size of which the tar holds next to nothing.
                is_plain = member.type in _REGULAR and not member.issparse()
                content = made.extractfile(member) if is_plain else None
                if content is None:
                    raise DamagedImageError(f"{name} in it is not a regular file: {_MAKE}")
                if name in files:
                    raise DamagedImageError(f"it holds {name} twice: {_MAKE}")
                files[name] = content.read()
    except tarfile.TarError as error:
        raise DamagedImageError(f"it is a damaged tar ({error})") from error
    return files


def _read_littlefs(data: bytes) -> dict[str, bytes]:
    block_bytes, blocks = _geometry(data)
    if not block_bytes or block_bytes * blocks != len(data):
        raise DamagedImageError("it is a littlefs that is cut short, or other bytes follow it")
    try:
        files = littlefs.read(data, block_bytes)
    except LittleFSError as error:
        raise DamagedImageError(f"it is a littlefs that cannot be read ({error})") from error
    return {name.lstrip("/"): content for name, content in files.items()}
