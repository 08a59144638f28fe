"""Copy files into the folder that becomes /data: those of an image, and those of /data that the
application wants to keep. RAM: about 0.4 KB while loaded.
"""

import uerrno
import uos
from micropython import const

from ..errors import OTAError
from ..exchange import DATA, NEW, is_there

COPY_BYTES = const(512)  # at once
_IS_FOLDER = const(0x4000)
_DIGEST = const(".mpota")  # in /data itself it is exchange.py's

_DAMAGED = const(37)


def keeping(manifest):
    """Copy the files of /data that *manifest* wants to keep into NEW. A generator.

    The file with the digest of /data's image is not copied: NEW has its own.
    """
    patterns = manifest.get("keep", ())
    if not patterns or not is_there(DATA):
        return
    buffer = memoryview(bytearray(2 * COPY_BYTES))
    for name, size in _files(DATA + "/"):
        if any(_fits(name, pattern) for pattern in patterns):
            path = made_folders(name, False)
            with open(DATA + "/" + name, "rb") as source:
                yield from copying(source, size, path, buffer)
        yield


def _files(folder, prefix=""):
    # Yields the name and size of every file in *folder*, which ends with a slash.
    for entry in uos.ilistdir(folder + prefix):
        name = prefix + entry[0]
        if name == _DIGEST:
            continue
        if entry[1] == _IS_FOLDER:
            yield from _files(folder, name + "/")
        else:
            yield name, entry[3]


def _fits(name, pattern):
    at = pattern.find("*")
    if at < 0:
        return name == pattern
    end = pattern[at + 1 :]
    return len(name) >= at + len(end) and name[:at] == pattern[:at] and name.endswith(end)


def made_folders(name, is_folder):
    """Make the folders of *name* in NEW, and itself if it is one; return its path."""
    path = NEW
    parts = name.split("/")
    for i in range(len(parts)):
        path += "/" + parts[i]
        if (is_folder or i < len(parts) - 1) and not is_there(path):
            uos.mkdir(path)
    return path


def copying(source, size, path, buffer):
    """Copy *size* bytes of *source* to the file *path*, and read them back. A generator.

    *buffer* is a memoryview of 2 * COPY_BYTES. Raises OTAError 37 where there are fewer bytes.
    """
    start = source.tell()
    copy = buffer[COPY_BYTES:]
    for mode in ("wb", "rb"):
        source.seek(start)
        with open(path, mode) as file:
            left = size
            while left:
                count = min(left, COPY_BYTES)
                part = buffer[:count]
                if source.readinto(part) != count:
                    raise OTAError(_DAMAGED, path)
                if mode == "wb":
                    file.write(part)
                elif file.readinto(copy[:count]) != count or part != copy[:count]:
                    raise OSError(uerrno.EIO)  # read back, it differs
                left -= count
                yield
