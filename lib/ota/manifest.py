"""MANIFEST, the first member of an application image: a line of text for each fact and file.

Lines are read one at a time and none is kept, so it costs the same for 2 files and for 200. The
`file` lines go into a digest, and `matches` compares them with the files found. Format:
docs/SPEC.md.
"""

from hashlib import sha256

from micropython import const

from .errors import OTAError

_MAX_LINE = const(256)
_MAX_FILES = const(256)
_MAX_SEQUENCE = const(0x3FFFFFFF)

_BAD_MANIFEST = const(38)


class Manifest:
    """What an image's MANIFEST says.

    Without methods, so that nothing else of this module stays in memory with it.
    """

    name = version = board = mpy = downgrade = ""
    sequence = 0
    files = total_bytes = 0


class ManifestReader:
    """Makes a Manifest of the lines that it takes."""

    def __init__(self):
        self.manifest = Manifest()
        self._lines = 0
        self._listed = sha256()

    def read_line(self, stream, left):
        """Read one line of at most *left* bytes; return it with its newline, as bytes."""
        line = stream.readline(min(left, _MAX_LINE + 1))
        if not line.endswith(b"\n"):
            self._lines += 1
            raise self._error("cut off or too long")
        return line

    def take(self, line):
        """Take in *line*; return (size_bytes, SHA-256 in hex, name) if it lists a file, else None.

        Raises OTAError 38 naming the line, when it is not what the format says.
        """
        self._lines += 1
        text = line[:-1]
        if len(line) > _MAX_LINE or not text or min(text) < 32 or max(text) > 126:
            raise self._error("not plain text")
        if self._lines == 1:
            if text != b"mpota 1":
                raise self._error("not 'mpota 1'")
            return None
        words = text.decode().split(" ")
        key = words[0]
        if key == "file":
            self._listed.update(line)
            return self._file(words)
        if key in ("name", "version", "board", "mpy", "downgrade"):
            if len(words) != 2 or not words[1] or getattr(self.manifest, key):
                raise self._error(key)
            setattr(self.manifest, key, words[1])
        elif key == "sequence":
            if len(words) != 2 or self.manifest.sequence:
                raise self._error(key)
            self.manifest.sequence = self._number(words[1], _MAX_SEQUENCE)
            if not self.manifest.sequence:
                raise self._error(key)
        return None

    def check(self):
        """Raise OTAError 38 unless name, version, sequence and a file were among the lines."""
        m = self.manifest
        if not (m.name and m.version and m.sequence and m.files):
            raise OTAError(_BAD_MANIFEST, "name, version, sequence or file missing")

    def matches(self, found):
        """Return whether *found*, a SHA-256 over the `file` lines of the files found, agrees."""
        return self._listed.digest() == found.digest()

    def _file(self, words):
        m = self.manifest
        if len(words) != 4 or len(words[2]) != 64 or not words[3] or m.files == _MAX_FILES:
            raise self._error("file")
        m.files += 1
        size_bytes = self._number(words[1], _MAX_SEQUENCE)
        m.total_bytes += size_bytes
        return size_bytes, words[2], words[3]

    def _number(self, word, limit):
        if not (word.isdigit() and len(word) <= 10 and int(word) <= limit):
            raise self._error("not a number")
        return int(word)

    def _error(self, what):
        return OTAError(_BAD_MANIFEST, "line %d: %s" % (self._lines, what))
