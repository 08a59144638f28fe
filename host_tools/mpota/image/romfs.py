"""ROMFS, MicroPython's read-only file system: make one of files, and read one without trusting it.

MicroPython's extmod/vfs_rom.c describes the format. A ROMFS is a record, and everything in it is
one too: a kind, a length, and as many bytes as the length says. Both numbers are written with
seven bits a byte, the highest first; every byte but the last has its eighth bit set.

This reader takes only what a board takes. MicroPython's own reader trusts every length, so a board
checks all records before it mounts an image.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mpremote.romfs import VfsRomWriter

from mpota.errors import DamagedImageError

MAGIC = b"\xd2\xcd\x31"
FOLDER_LIMIT = 8  # nested folders: a few dozen would overflow the board's stack
PART_LIMIT = 100  # characters of one folder's or file's name

# The characters of a name; "." and ".." are not allowed either.
_PART = re.compile(rf"(?!\.{{1,2}}\Z)[A-Za-z0-9._-]{{1,{PART_LIMIT}}}")
_PADDING, _DATA, _FOLDER, _FILE = 1, 2, 4, 5  # kinds of records
_UINT_BYTES = 5  # the longest form of a number, leading zeros included


class _Record(NamedTuple):
    """A record whose payload is `data[start:end]`."""

    kind: int
    start: int
    end: int


def is_part(name: str) -> bool:
    """Tell whether a board takes `name` for one folder or file."""
    return bool(_PART.fullmatch(name))


def build(files: dict[str, bytes]) -> bytes:
    """Make a ROMFS of `files`: name, with `/` between its parts, → content.

    The records are in the order of `files`; a folder stands at the place of its first file. The
    same input always gives the same bytes.
    """
    writer = VfsRomWriter()
    _write(writer, _tree(files))
    return bytes(writer.finalise())


def size_bytes(data: bytes) -> int:
    """Return the size of the ROMFS that `data` begins with. Raises DamagedImageError."""
    return _filesystem(data).end


def first_file(data: bytes) -> tuple[str, bytes]:
    """Return name and content of the file that is the very first record of the ROMFS in `data`.

    Its data must follow its name directly: there a board reads them, before it has checked the rest
    of the image. Raises DamagedImageError if there is no such file.
    """
    filesystem = _filesystem(data)
    file = _record(data, filesystem.start, filesystem.end)
    if file.kind != _FILE:
        raise DamagedImageError("its first record is not a file")
    name, at = _name(data, file)
    content = _record(data, at, file.end)
    if content.kind != _DATA:
        raise DamagedImageError("the data of its first file is not where it must be")
    return name, data[content.start : content.end]


def read(data: bytes) -> dict[str, bytes]:
    """Return the files of the ROMFS that `data` begins with, in its order: name → content.

    Raises DamagedImageError for every record that a board refuses.
    """
    files: dict[str, bytes] = {}
    filesystem = _filesystem(data)
    _read_folder(data, filesystem.start, filesystem.end, "", 0, files)
    return files


def _tree(files: dict[str, bytes]) -> dict[str, Any]:
    """Nest `files` into dictionaries, one for each folder."""
    tree: dict[str, Any] = {}
    for name, content in files.items():
        *folders, last = name.split("/")
        folder = tree
        for part in folders:
            folder = folder.setdefault(part, {})
        folder[last] = content
    return tree


def _write(writer: VfsRomWriter, folder: dict[str, Any]) -> None:
    for name, content in folder.items():
        if isinstance(content, dict):
            writer.opendir(name)
            _write(writer, content)
            writer.closedir()
        else:
            writer.mkfile(name, content)


def _filesystem(data: bytes) -> _Record:
    if data[: len(MAGIC)] != MAGIC:
        raise DamagedImageError("it does not begin with a ROMFS")
    length, start = _uint(data, len(MAGIC), len(data))
    if length > len(data) - start:
        raise DamagedImageError("it is cut short")
    return _Record(0, start, start + length)


def _read_folder(
    data: bytes, start: int, end: int, path: str, depth: int, files: dict[str, bytes]
) -> None:
    seen = set()
    for record in _records(data, start, end):
        if record.kind == _PADDING:
            continue
        if record.kind == _FILE:
            name, content = _file(data, record)
            files[path + name] = content
        elif record.kind == _FOLDER:
            if depth == FOLDER_LIMIT:
                raise DamagedImageError(f"it has more than {FOLDER_LIMIT} nested folders")
            name, inside = _name(data, record)
            _read_folder(data, inside, record.end, f"{path}{name}/", depth + 1, files)
        else:
            raise DamagedImageError(f"a record of kind {record.kind} stands in a folder")
        if name in seen:
            raise DamagedImageError(f"{path}{name} is there twice")
        seen.add(name)


def _file(data: bytes, file: _Record) -> tuple[str, bytes]:
    """Return name and content of a file; a record of padding may stand before its data."""
    name, at = _name(data, file)
    content = _record(data, at, file.end)
    if content.kind == _PADDING:
        content = _record(data, content.end, file.end)
    if content.kind != _DATA:
        raise DamagedImageError(f"a record of kind {content.kind} stands in the file {name}")
    if content.end != file.end:
        raise DamagedImageError(f"there is more than its data in the file {name}")
    return name, data[content.start : content.end]


def _name(data: bytes, record: _Record) -> tuple[str, int]:
    """Return the name of a file or folder, and where the records in it begin."""
    length, start = _uint(data, record.start, record.end)
    if length > record.end - start:
        raise DamagedImageError("a name in it is longer than its record")
    name = data[start : start + length].decode("ascii", "replace")
    if not is_part(name):
        raise DamagedImageError(f"the name {name[:PART_LIMIT]!r} in it is not allowed")
    return name, start + length


def _records(data: bytes, start: int, end: int) -> Iterator[_Record]:
    while start < end:
        record = _record(data, start, end)
        yield record
        start = record.end


def _record(data: bytes, start: int, end: int) -> _Record:
    kind, start = _uint(data, start, end)
    length, start = _uint(data, start, end)
    if length > end - start:
        raise DamagedImageError("a record in it is longer than the record around it")
    return _Record(kind, start, start + length)


def _uint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read the number at `at`; return it, and where it ends."""
    value = 0
    for byte in data[at : min(end, at + _UINT_BYTES)]:
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    raise DamagedImageError("a number in it is cut short or too long")
