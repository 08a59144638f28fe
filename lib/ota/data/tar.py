"""A tar in a file: POSIX's ustar, GNU's form of it, and the older form. RAM: about 0.5 KB while
loaded.

Only files and folders are accepted: no links, no devices, and nothing that needs further headers.
"""

from micropython import const

from ..errors import OTAError

_BAD_DATA_IMAGE = const(47)

# The header: a block with these fields, and zeros or spaces behind what is shorter.
_BLOCK_BYTES = const(512)
_NAME_END = const(100)
_SIZE_AT = const(124)
_SIZE_END = const(136)
_SUM_AT = const(148)
_SUM_END = const(156)
_KIND_AT = const(156)
_MAGIC_AT = const(257)
_MAGIC_END = const(263)
_PREFIX_AT = const(345)
_PREFIX_END = const(500)

_HOW = const("%s: make it with 'mpota mkdata' or 'tar --format=ustar'")
# Fields that a further header (POSIX's pax) must not have, since they replace the name or size of
# the entry. Its other fields, such as a time, are ignored.
_MEANINGS = const((b" path=", b" linkpath=", b" size=", b" GNU.sparse"))


def bad(what):
    """Return the OTAError for a bad image; *what* says what is wrong."""
    return OTAError(_BAD_DATA_IMAGE, what)


def is_head(block):
    """Return whether *block*, a memoryview, begins with a header whose checksum is right."""
    if len(block) < _BLOCK_BYTES:
        return False
    # The sum is of the whole header, with spaces in its own place.
    total = sum(block[:_SUM_AT]) + 32 * (_SUM_END - _SUM_AT) + sum(block[_SUM_END:_BLOCK_BYTES])
    try:
        return total == _number(block, _SUM_AT, _SUM_END)
    except ValueError:
        return False


def _number(block, at, end):
    # Returns the number in octal digits in a field. Raises ValueError for anything else.
    digits = bytes(block[at:end]).strip(b" \0")
    if not digits or min(digits) < 48 or max(digits) > 55:
        raise ValueError
    return int(digits, 8)


def _text(block, at, end):
    return bytes(block[at:end]).split(b"\0", 1)[0]


def _name(block):
    # Returns the name in a header.
    name = _text(block, 0, _NAME_END)
    if block[_MAGIC_AT:_MAGIC_END] == b"ustar\0":  # in other forms other things stand there
        prefix = _text(block, _PREFIX_AT, _PREFIX_END)
        if prefix:
            name = prefix + b"/" + name
    while name[:2] == b"./":
        name = name[2:]
    return name


class Tar:
    """The tar in *file*, which ends at byte *end*."""

    def __init__(self, file, end):
        self.end = end
        self._file = file

    def entries(self):
        """Yield (name, size, at) of every file, and (name, None, 0) of every folder.

        The name is bytes as they stand there. Raises OTAError 47.
        """
        block = memoryview(bytearray(_BLOCK_BYTES))
        at = 0
        zeros = 0  # blocks of them: two are the end, and only more of them may follow
        while at < self.end:
            count = min(_BLOCK_BYTES, self.end - at)
            self._read(at, block[:count])
            where = "at byte %d" % at
            at += count
            if not any(block[:count]):
                zeros += 1
                continue
            if zeros or count < _BLOCK_BYTES or not is_head(block):
                raise bad("no header " + where)
            try:
                size = _number(block, _SIZE_AT, _SIZE_END)
            except ValueError:
                raise bad("no size " + where)
            if size > self.end - at:
                raise bad("cut off " + where)
            entry = self._entry(block, size, at)
            if entry:
                yield entry
            at += size + _BLOCK_BYTES - 1 & ~(_BLOCK_BYTES - 1)
        if zeros < 2:
            raise bad("it has no end")

    def open(self, _, at):
        """Return a file that is at the beginning of the content at byte *at*."""
        self._file.seek(at)
        return self._file

    def close(self):
        """Do nothing: `open` returns the file that holds the tar, which stays open."""

    def _read(self, at, view):
        self._file.seek(at)
        if self._file.readinto(view) != len(view):
            raise bad("cut off")

    def _entry(self, block, size, at):
        # Returns what a header says of the *size* bytes at *at*; None where it is passed over.
        kind = chr(block[_KIND_AT])
        if kind == "x" or kind == "g":
            if size <= _BLOCK_BYTES:
                self._read(at, block[:size])
                text = bytes(block[:size])
                if not any(meaning in text for meaning in _MEANINGS):
                    return None
            raise bad(_HOW % "further headers")
        name = _name(block)
        if kind not in "05\0":  # such as a link, a device, or the rest of a long name
            raise bad(_HOW % ("an entry of kind %r" % kind))
        if kind != "5" and name[-1:] != b"/":
            return name, size, at
        if size:
            raise bad("a folder with a size")
        if name[-1:] == b"/":
            name = name[:-1]
        return (name, None, 0) if name not in (b"", b".") else None
