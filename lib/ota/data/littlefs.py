"""A littlefs in a file, mounted read-only. RAM: about 0.3 KB while loaded.

Format: github.com/littlefs-project/littlefs, SPEC.md, versions 2.0 and 2.1.
"""

import uerrno
import vfs
from micropython import const

from .tar import bad

# In the first block, which begins with the superblock.
_MAGIC_AT = const(8)
_MAGIC = const(b"littlefs")
_BLOCK_BYTES_AT = const(24)
_BLOCKS_AT = const(28)
_HEAD_BYTES = const(32)

_LEAST_BLOCK_BYTES = const(512)
_MOST_BLOCK_BYTES = const(65536)
# How many bytes are read at once.
_READ_BYTES = const(32)
_LOOKAHEAD_BYTES = const(32)

_MAX_DEPTH = const(8)
_IS_FOLDER = const(0x4000)


def is_head(head):
    """Return whether *head*, a memoryview, begins with a superblock."""
    return len(head) >= _HEAD_BYTES and head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


class LittleFS:
    """The littlefs in *file*, which begins with *head*, and ends at byte `end`.

    This object is also the block device, which can only be read.
    """

    _fs = _source = None

    def __init__(self, file, head):
        self._file = file
        self._block_bytes = int.from_bytes(head[_BLOCK_BYTES_AT:_BLOCKS_AT], "little")
        self._blocks = int.from_bytes(head[_BLOCKS_AT:_HEAD_BYTES], "little")
        size = self._block_bytes
        if not _LEAST_BLOCK_BYTES <= size <= _MOST_BLOCK_BYTES or size & (size - 1):
            raise bad("blocks of %d bytes" % size)
        self.end = size * self._blocks

    def entries(self, folder="", depth=0):
        """Yield (name, size, 0) of every file, and (name, None, 0) of every folder.

        The name is bytes. Raises OTAError 47.
        """
        if depth > _MAX_DEPTH:
            raise bad("folders too deep")
        try:
            if self._fs is None:
                self._fs = vfs.VfsLfs2(
                    self, readsize=_READ_BYTES, progsize=_READ_BYTES, lookahead=_LOOKAHEAD_BYTES
                )
            for entry in self._fs.ilistdir("/" + folder):
                name = folder + entry[0]
                if entry[1] == _IS_FOLDER:
                    yield name.encode(), None, 0
                    yield from self.entries(name + "/", depth + 1)
                else:
                    yield name.encode(), entry[3], 0
        except (OSError, UnicodeError) as e:
            raise bad("no littlefs that this board reads: %s" % e)

    def open(self, name, _):
        """Return the file *name*, until the next one is opened."""
        self.close()
        self._source = self._fs.open("/" + name, "rb")
        return self._source

    def close(self):
        """Close the file that was opened last, if any."""
        if self._source:
            self._source.close()
            self._source = None

    def readblocks(self, number, buffer, offset=0):
        """Read *buffer* from a block."""
        at = number * self._block_bytes + offset
        if at + len(buffer) > self.end:
            raise OSError(uerrno.EIO)
        self._file.seek(at)
        if self._file.readinto(buffer) != len(buffer):
            raise OSError(uerrno.EIO)

    def ioctl(self, request, _):
        """Return the number of blocks (request 4), or the size of a block (5)."""
        if request == 4:
            return self._blocks
        return self._block_bytes if request == 5 else 0
