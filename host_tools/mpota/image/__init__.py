"""The application image: a plain POSIX tar whose first member, MANIFEST, names all others.

The bytes are those of the format's description (docs/SPEC).
"""

import hashlib
import re
from dataclasses import dataclass, field

from mpota.errors import CommandError
from mpota.image import ustar
from mpota.image.ustar import damaged

# The board refuses what exceeds these.
PART_LIMIT = 8  # parts of a file's name: the board's stack ends after a few dozen
NAME_LIMIT = 100  # characters of a file's name: what a USTAR header holds without its prefix
FILES_LIMIT = 256
LINE_LIMIT = 256  # bytes of a manifest line with its newline
MANIFEST_LIMIT = 65_536  # bytes
SEQUENCE_LIMIT = 2**30 - 1  # a small int on the board
LABEL_LIMIT = 32  # characters of a name, a version, a board

MANIFEST_NAME = "MANIFEST"
FIRST_LINE = "mpota 1"
_DOWNGRADE = "yes"
BOARD = "esp8266"
# Names at the top that the board's own files bear.
RESERVED = frozenset({"boot.py", "main.py", "ota.json", ".ota", MANIFEST_NAME})

_LABEL = re.compile(rf"[!-~]{{1,{LABEL_LIMIT}}}")
_NAME = re.compile(rf"[A-Za-z0-9._/-]{{1,{NAME_LIMIT}}}")
_LINE = re.compile(rf"[ -~]{{1,{LINE_LIMIT - 1}}}")
_WORD = re.compile(r"[!-~]+")
_NUMBER = re.compile(r"[0-9]{1,10}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,9}")
_MPY = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """One line of the manifest: a file's size in bytes, the hex of its SHA-256, its name."""

    size: int
    sha256: str
    name: str


@dataclass
class Manifest:
    """What an image says about itself; `board` and `mpy` are None where it does not say.

    `downgrade` asks a board to take the release also below its floor; the board's own setting has
    to allow that too.
    """

    name: str
    version: str
    sequence: int
    board: str | None = BOARD
    mpy: str | None = None
    files: list[File] = field(default_factory=list)
    downgrade: bool = False

    def text(self) -> str:
        """Give the manifest's text. Raises CommandError for what does not fit.

        That is more than a board would refuse, which takes longer words.
        """
        self._check()
        lines = [FIRST_LINE, f"name {self.name}", f"version {self.version}"]
        lines.append(f"sequence {self.sequence}")
        if self.board is not None:
            lines.append(f"board {self.board}")
        if self.mpy is not None:
            lines.append(f"mpy {self.mpy}")
        if self.downgrade:
            lines.append(f"downgrade {_DOWNGRADE}")
        lines += [f"file {file.size} {file.sha256} {file.name}" for file in self.files]
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> "Manifest":
        """Read a manifest's text. Raises CommandError for what the board would refuse."""
        if len(text) > MANIFEST_LIMIT:
            raise damaged(f"MANIFEST is longer than {MANIFEST_LIMIT} bytes")
        if not text.endswith("\n"):
            raise damaged("MANIFEST does not end with a newline")
        lines = text[:-1].split("\n")
        if lines[0] != FIRST_LINE:
            raise damaged(f"MANIFEST does not begin with '{FIRST_LINE}'")
        words: dict[str, str] = {}
        files = []
        for line in lines[1:]:
            if not _LINE.fullmatch(line):
                raise damaged(
                    f"a line of MANIFEST is empty, longer than {LINE_LIMIT} bytes or no plain ASCII"
                )
            key, _, value = line.partition(" ")
            if key == "file":
                files.append(_file_line(value))
            elif key in ("name", "version", "sequence", "board", "mpy", "downgrade"):
                if key in words:
                    raise damaged(f"MANIFEST has two '{key}' lines")
                if not _WORD.fullmatch(value):
                    raise damaged(f"MANIFEST's '{key}' line does not have one word")
                words[key] = value
        missing = [key for key in ("name", "version", "sequence") if key not in words]
        if missing or not files:
            raise damaged(f"MANIFEST has no '{[*missing, 'file'][0]}' line")
        if not _NUMBER.fullmatch(words["sequence"]):
            raise damaged("MANIFEST's sequence is not a number")
        sequence = int(words["sequence"])
        if not 1 <= sequence <= SEQUENCE_LIMIT:
            raise damaged(f"MANIFEST's sequence is not from 1 to {SEQUENCE_LIMIT}")
        _check_files(files)
        downgrade = words.get("downgrade") == _DOWNGRADE
        name, version, board, mpy = map(words.get, ("name", "version", "board", "mpy"))
        return cls(name, version, sequence, board, mpy, files, downgrade)

    def _check(self) -> None:
        for key, value in (("name", self.name), ("version", self.version), ("board", self.board)):
            if value is not None and not _LABEL.fullmatch(value):
                raise CommandError(
                    f"the {key} {value!r} does not fit: give 1 to {LABEL_LIMIT} printable ASCII "
                    "characters without spaces"
                )
        if not 1 <= self.sequence <= SEQUENCE_LIMIT:
            raise CommandError(
                f"the sequence {self.sequence} does not fit: give a number from 1 to "
                f"{SEQUENCE_LIMIT}, higher than the last release's"
            )
        if self.mpy is not None and not _MPY.fullmatch(self.mpy):
            raise CommandError(f"the mpy version {self.mpy!r} does not fit: give it like 6.3")
        _check_files(self.files)


def check_name(name: str) -> None:
    """Check a file's name in an image. Raises CommandError where the board would refuse it."""
    parts = name.split("/")
    if not _NAME.fullmatch(name) or any(part in ("", ".", "..") for part in parts):
        raise CommandError(
            f"the file name {name!r} does not fit: rename or exclude it (at most {NAME_LIMIT} "
            "characters of A-Z a-z 0-9 . _ - /)"
        )
    if len(parts) > PART_LIMIT:
        raise CommandError(
            f"the file {name} is too deep: move it up, the board takes {PART_LIMIT - 1} folders "
            "one in the other"
        )
    if parts[0] in RESERVED:
        raise CommandError(
            f"the file {name} has a name that the board keeps for itself: rename or exclude it"
        )


def build(
    *,
    name: str,
    version: str,
    sequence: int,
    files: dict[str, bytes],
    board: str = BOARD,
    mpy: str | None = None,
    downgrade: bool = False,
) -> bytes:
    """Make an image: the same input always gives the same bytes.

    `files` maps names to contents; `mpy` is the bytecode's version, like "6.3", where there is
    any; `downgrade` as in `Manifest`. The tar ends after its two zero blocks, unpadded, since it
    is written to flash. Raises CommandError where the board would refuse it.
    """
    listed = [
        File(len(content), hashlib.sha256(content).hexdigest(), file_name)
        for file_name, content in sorted(files.items())
    ]
    manifest = Manifest(name, version, sequence, board, mpy, listed, downgrade)
    tar = [ustar.member(MANIFEST_NAME, manifest.text().encode("ascii"))]
    tar += [ustar.member(file.name, files[file.name]) for file in listed]
    return b"".join(tar) + bytes(2 * ustar.BLOCK)


def read(data: bytes) -> Manifest:
    """Check a whole image and give its manifest.

    What stands behind the tar's end, such as a signature, is not looked at. Raises CommandError
    for an image that a board would refuse.
    """
    members = ustar.members(data)
    first, content = next(members, ("", b""))
    if first != MANIFEST_NAME:
        raise damaged("its first file is not MANIFEST")
    try:
        manifest = Manifest.parse(content.decode("ascii"))
    except UnicodeDecodeError:
        raise damaged("MANIFEST is not ASCII text") from None
    listed = iter(manifest.files)
    for name, content in members:
        file = next(listed, None)
        if file is None or file.name != name:
            raise damaged(f"{name!r} is not where MANIFEST lists it")
        if (len(content), hashlib.sha256(content).hexdigest()) != (file.size, file.sha256):
            raise damaged(f"{name} is not what MANIFEST says")
    missing = next(listed, None)
    if missing is not None:
        raise damaged(f"{missing.name} is missing")
    return manifest


def _file_line(value: str) -> File:
    fields = value.split(" ")
    if len(fields) != 3 or not _SIZE.fullmatch(fields[0]) or not _DIGEST.fullmatch(fields[1]):
        raise damaged("a 'file' line of MANIFEST is not 'file SIZE SHA256 NAME'")
    return File(int(fields[0]), fields[1], fields[2])


def _check_files(files: list[File]) -> None:
    if len(files) > FILES_LIMIT:
        raise CommandError(
            f"the image has {len(files)} files, a board takes {FILES_LIMIT}: exclude some"
        )
    _check_names([file.name for file in files])


def _check_names(names: list[str]) -> None:
    directories = {name[:at] for name in names for at, char in enumerate(name) if char == "/"}
    seen: set[str] = set()
    for name in names:
        check_name(name)
        if name in seen or name in directories:
            raise CommandError(f"the image has {name} twice: rename or exclude one of them")
        seen.add(name)
