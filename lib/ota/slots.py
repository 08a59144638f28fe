"""The two application slots, /.ota/a and /.ota/b: directories, of which one is idle."""

import os

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
