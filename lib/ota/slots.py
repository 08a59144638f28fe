"""The two application slots, /.ota/a and /.ota/b: directories, of which one is idle."""

import os
from binascii import hexlify
from hashlib import sha256

from micropython import const

from .errors import OTAError

_NO_SPACE = const(4)

# Names of a folder that are in memory at a time.
_ENTRIES = const(16)


def path(slot):
    """Return the directory of *slot*, "a" or "b"."""
    return "/.ota/" + slot


def idle(active):
    """Return the slot that an update goes to while *active* (a slot or None) runs."""
    return "b" if active == "a" else "a"


def make_room(active, n):
    """See to it that *n* bytes are free; the slot that is idle is kept if they are already.

    Raises OTAError 4.
    """
    free = _free_bytes()
    if free < n:
        remove(path(idle(active)))
        free = _free_bytes()
    if free < n:
        raise OTAError(_NO_SPACE, "%d bytes too few" % (n - free))


def _free_bytes():
    # littlefs counts some blocks twice: when it is nearly full, "free" can wrap below 0.
    stat = os.statvfs("/")
    return stat[0] * stat[3] if 0 <= stat[3] <= stat[2] else 0


def remove(name):
    """Remove the file or directory *name* with all that is in it; nothing if it is not there."""
    try:
        is_folder = os.stat(name)[0] & 0x4000
    except OSError:
        return
    if not is_folder:
        os.remove(name)
        return
    entries = [None]
    while entries:
        # A few at a time: the names of a full folder are more than there is memory for.
        entries = []
        for entry in os.ilistdir(name):
            if len(entries) < _ENTRIES:
                entries.append(entry[0])
        for entry in entries:
            remove(name + "/" + entry)
    os.rmdir(name)


def read_manifest(slot, visit=None):
    """Return *slot*'s Manifest; call *visit* with (size_bytes, SHA-256 hex, name) of its files.

    Raises OSError when there is none, OTAError 38 when it is broken.
    """
    from .manifest import Manifest

    manifest = Manifest()
    with open(path(slot) + "/MANIFEST", "rb") as f:
        left = f.seek(0, 2)
        f.seek(0)
        while left:
            line = manifest.read_line(f, left)
            left -= len(line)
            item = manifest.take(line)
            if visit and item:
                visit(*item)
    manifest.check()
    return manifest


def verify(slot, buf):
    """Read every file of *slot* back from flash; return its Manifest when all are whole, else None.

    *buf* is a memoryview to read into.
    """
    whole = True

    def check(size_bytes, digest, name):
        nonlocal whole
        if whole and file_digest(path(slot) + "/" + name, buf) != (size_bytes, digest.encode()):
            whole = False

    try:
        manifest = read_manifest(slot, check)
    except Exception:  # a missing file is an OSError, a broken manifest an OTAError
        return None
    return manifest if whole else None


def file_digest(name, buf):
    """Return (size in bytes, SHA-256 in hex as bytes) of the file *name*, read through *buf*."""
    digest = sha256()
    size_bytes = 0
    with open(name, "rb") as f:
        while True:
            n = f.readinto(buf)
            if not n:
                return size_bytes, hexlify(digest.digest())
            digest.update(buf[:n])
            size_bytes += n
