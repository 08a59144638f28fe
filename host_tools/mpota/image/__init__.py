"""The application image as a whole: a ROMFS, a footer, and a trailer if the image is signed.

Zeros fill the ROMFS up to a multiple of 4 bytes. The footer holds a magic, and the length and the
SHA-256 of everything before it, so that a slot can be checked by its content alone. docs/SPEC.md
describes the bytes.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from mpota.errors import CommandError, DamagedImageError
from mpota.image import compression, romfs, trailer
from mpota.image.manifest import MANIFEST_NAME, MPY, Manifest

NAME_LIMIT = 100  # characters of a file's whole name: a path on the board has 128 at most
PACKAGE_FOLDER = ".ota"  # the folder in a release that brings the package `ota`
_ALIGNMENT = 4
# Magic, length and SHA-256 of everything before the footer.
_FOOTER = struct.Struct("<4sI32s")
_FOOTER_MAGIC = b"MPOF"
_TAR_MAGIC = slice(257, 262)
_OLD_MANIFEST = b"mpota 1\n"


class OldImageError(CommandError):
    """Say what to do with an image of the previous format."""

    def __init__(self) -> None:
        super().__init__(
            "this is an image of the previous format, a tar with 'mpota 1', which boards no longer "
            "take: pack the application again"
        )


@dataclass(frozen=True)
class Image:
    """An application image that was read: `files` maps names to contents, without MANIFEST.

    `romfs_bytes` is the size of the ROMFS and the zeros behind it, `sha256` their digest in hex;
    `signature` is the content of the trailer, None if there is none.
    """

    manifest: Manifest
    files: dict[str, bytes] = field(repr=False)
    romfs_bytes: int
    sha256: str
    signature: bytes | None = field(repr=False)


def check_path(name: str, remedy: str) -> None:
    """Check the name of a file with its folders. Raises CommandError if a board would refuse it.

    `remedy` is what the error advises, such as "rename it".
    """
    parts = name.split("/")
    if len(name) > NAME_LIMIT or not all(map(romfs.is_part, parts)):
        raise CommandError(
            f"the file name {name!r} does not fit: {remedy} (at most {NAME_LIMIT} characters of "
            "A-Z a-z 0-9 . _ - /)"
        )
    if len(parts) > romfs.FOLDER_LIMIT + 1:
        raise CommandError(
            f"the file {name} is too deep: move it up, a board takes {romfs.FOLDER_LIMIT} nested "
            "folders"
        )


def check_name(name: str) -> None:
    """Check the name of a file in an application image. Raises CommandError if it is refused."""
    check_path(name, "rename or exclude it")
    if name.split("/")[0] == MANIFEST_NAME:
        raise CommandError(f"the file name {name} is reserved for mpota: rename or exclude it")


def build(
    *,
    name: str,
    version: str,
    sequence: int,
    files: dict[str, bytes],
    mpy: str | None = MPY,
    downgrade: bool = False,
    data: str | None = None,
    keep: Sequence[str] = (),
) -> bytes:
    """Make an image, without a signature: the same input always gives the same bytes.

    `files` maps names to contents as the board gets them, with modules compiled to `.mpy`; `mpy` is
    the version of that bytecode; `downgrade`, `data` and `keep` are as in `Manifest`. It is not
    checked whether the image is too large for a slot. Raises CommandError for a field or a name
    that a board would refuse.
    """
    manifest = Manifest(
        name,
        version,
        sequence,
        mpy=mpy,
        downgrade=downgrade,
        data=data,
        keep=tuple(keep),
    )
    _check_names(files)
    contents = {MANIFEST_NAME: manifest.text().encode("ascii")} | dict(sorted(files.items()))
    made = romfs.build(contents)
    made += bytes(-len(made) % _ALIGNMENT)
    return made + _FOOTER.pack(_FOOTER_MAGIC, len(made), hashlib.sha256(made).digest())


def size_bytes(data: bytes) -> int:
    """Return the size of the image that `data` begins with, footer included, signature not.

    Raises DamagedImageError if there is no ROMFS, or no footer that belongs to it. The digest is
    not checked here; `read` does that.
    """
    size = romfs.size_bytes(data)
    size += -size % _ALIGNMENT
    footer = data[size : size + _FOOTER.size]
    if len(footer) < _FOOTER.size:
        raise DamagedImageError("it is cut short")
    if footer[:8] != struct.pack("<4sI", _FOOTER_MAGIC, size):
        raise DamagedImageError("it has no footer where its ROMFS ends")
    return size + _FOOTER.size


def unpacked(data: bytes) -> tuple[bytes, bytes]:
    """Return the image as it will lie in a slot, and the bytes that follow a gzip of it.

    If *data* is not a gzip, it is returned as it is, and no bytes follow. Raises DamagedImageError.
    """
    return compression.unpack(data) if data.startswith(compression.MAGIC) else (data, b"")


def read(data: bytes) -> Image:
    """Check a whole image, which may be a gzip, and take it apart.

    If the gzip is signed, its signature is returned; no signature is verified here. Raises
    OldImageError for an image of the previous format, DamagedImageError for everything else that a
    board would refuse.
    """
    data, rest = unpacked(data)
    if is_old(data):
        raise OldImageError
    end = size_bytes(data)
    content = data[: end - _FOOTER.size]
    digest = hashlib.sha256(content)
    if digest.digest() != data[end - digest.digest_size : end]:
        raise DamagedImageError("its SHA-256 is not the one in its footer")
    name, text = romfs.first_file(content)
    if name != MANIFEST_NAME:
        raise DamagedImageError("its first file is not MANIFEST")
    if any(content[romfs.size_bytes(content) :]):
        raise DamagedImageError("there are other bytes than zeros before its footer")
    files = romfs.read(content)
    del files[MANIFEST_NAME]
    signature = _signature(data[end:])
    if rest:
        signature = _signature(rest)
    return Image(Manifest.parse(text), files, len(content), digest.hexdigest(), signature)


def _signature(rest: bytes) -> bytes | None:
    before, signature = trailer.split(rest)
    if before:
        raise DamagedImageError(f"{len(before)} bytes follow its end")
    return signature


def is_old(data: bytes) -> bool:
    """Tell whether *data* is an image of the previous format."""
    return data[_TAR_MAGIC] == b"ustar" and data[512:].startswith(_OLD_MANIFEST)


def _check_names(names: dict[str, bytes]) -> None:
    folders = {name[:at] for name in names for at, char in enumerate(name) if char == "/"}
    for name in names:
        check_name(name)
        if name in folders:
            raise CommandError(
                f"{name} is both a file and a folder of the image: rename or exclude one of them"
            )
