"""MANIFEST: the file in which an application image describes itself, in lines of text."""

import re
from dataclasses import dataclass

from mpota.errors import CommandError, DamagedImageError

MANIFEST_NAME = "MANIFEST"
BOARD = "esp8266"
MPY = "6.3"  # the version of the bytecode that the board's MicroPython loads

# A board refuses a MANIFEST that exceeds these limits.
SIZE_LIMIT = 512  # bytes
LINE_LIMIT = 128  # bytes of a line with its newline
LABEL_LIMIT = 32  # characters of a name, a version and the other words
SEQUENCE_LIMIT = 2**30 - 1  # the largest small int on the board

_FIRST_LINE = "mpota 2"
_DOWNGRADE = "yes"
_KEYS = ("name", "version", "sequence", "board", "mpy", "downgrade", "data")
_KEEP = "keep"  # the only key that may have several words
_LABEL = re.compile(rf"[!-~]{{1,{LABEL_LIMIT}}}")
_LINE = re.compile(rf"[ -~]{{1,{LINE_LIMIT - 1}}}")
_NUMBER = re.compile(r"[0-9]{1,10}")
# A file in /data, or several with a *.
_PATTERN = re.compile(r"[A-Za-z0-9._/-]*\*?[A-Za-z0-9._/-]*")


@dataclass(frozen=True)
class Manifest:
    """What an image says about itself; `board` and `mpy` are None if it does not say them.

    With `downgrade`, a board may take the release even below its floor, if the board's settings
    allow that as well. `data` is the beginning of the SHA-256, in hex, of the data image that
    belongs to the application. `keep` are names of files in /data, or patterns with a `*`, that an
    update of /data leaves as they are.
    """

    name: str
    version: str
    sequence: int
    board: str | None = BOARD
    mpy: str | None = MPY
    downgrade: bool = False
    data: str | None = None
    keep: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the manifest's text. Raises CommandError for a field that does not fit."""
        for key, value in (("name", self.name), ("version", self.version)):
            if not _LABEL.fullmatch(value):
                raise CommandError(
                    f"the {key} {value!r} does not fit: give 1 to {LABEL_LIMIT} printable ASCII "
                    "characters without spaces"
                )
        if not 1 <= self.sequence <= SEQUENCE_LIMIT:
            raise CommandError(
                f"the sequence {self.sequence} does not fit: give a number from 1 to "
                f"{SEQUENCE_LIMIT}, higher than the last release's"
            )
        lines = [_FIRST_LINE, f"name {self.name}", f"version {self.version}"]
        lines.append(f"sequence {self.sequence}")
        if self.board is not None:
            lines.append(f"board {self.board}")
        if self.mpy is not None:
            lines.append(f"mpy {self.mpy}")
        if self.downgrade:
            lines.append(f"downgrade {_DOWNGRADE}")
        if self.data is not None:
            lines.append(f"data {self.data}")
        if self.keep:
            lines.append(self._keep_line())
        return "\n".join(lines) + "\n"

    def _keep_line(self) -> str:
        for pattern in self.keep:
            if not pattern or not _PATTERN.fullmatch(pattern):
                raise CommandError(
                    f"the pattern {pattern!r} in 'keep' does not fit: give the name of a file in "
                    "/data, or one with a single *, of A-Z a-z 0-9 . _ - /"
                )
        line = f"{_KEEP} {' '.join(self.keep)}"
        if len(line) >= LINE_LIMIT:
            raise CommandError(
                f"'keep' is too long, {len(line)} characters of {LINE_LIMIT - 1}: put what is to "
                'be kept into one folder, e.g. keep = ["own/*"]'
            )
        return line

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read a manifest. Raises DamagedImageError for what a board refuses."""
        if len(data) > SIZE_LIMIT:
            raise DamagedImageError(f"MANIFEST is longer than {SIZE_LIMIT} bytes")
        text = data.decode("ascii", "replace")
        if not text.endswith("\n"):
            raise DamagedImageError("MANIFEST does not end with a newline")
        lines = text[:-1].split("\n")
        if lines[0] != _FIRST_LINE:
            raise DamagedImageError(f"MANIFEST does not begin with '{_FIRST_LINE}'")
        words = _words(lines[1:])
        for key in ("name", "version", "sequence"):
            if key not in words:
                raise DamagedImageError(f"MANIFEST has no '{key}' line")
        for key in ("name", "version"):
            if len(words[key]) > LABEL_LIMIT:
                raise DamagedImageError(f"MANIFEST's {key} is longer than {LABEL_LIMIT} characters")
        if not _NUMBER.fullmatch(words["sequence"]):
            raise DamagedImageError("MANIFEST's sequence is not a number")
        sequence = int(words["sequence"])
        if not 1 <= sequence <= SEQUENCE_LIMIT:
            raise DamagedImageError(f"MANIFEST's sequence is not from 1 to {SEQUENCE_LIMIT}")
        return cls(
            words["name"],
            words["version"],
            sequence,
            words.get("board"),
            words.get("mpy"),
            words.get("downgrade") == _DOWNGRADE,
            words.get("data"),
            tuple(words.get(_KEEP, "").split()),
        )


def _words(lines: list[str]) -> dict[str, str]:
    """Return the word of every key that is known."""
    words: dict[str, str] = {}
    for line in lines:
        if not _LINE.fullmatch(line):
            raise DamagedImageError(
                f"a line of MANIFEST is empty, longer than {LINE_LIMIT} bytes or no plain ASCII"
            )
        key, _, value = line.partition(" ")
        if key not in (*_KEYS, _KEEP):
            continue
        if key in words:
            raise DamagedImageError(f"MANIFEST has two '{key}' lines")
        if key != _KEEP and not _LABEL.fullmatch(value):
            raise DamagedImageError(
                f"MANIFEST's '{key}' line does not have one word of 1 to {LABEL_LIMIT} characters"
            )
        words[key] = value
    return words
