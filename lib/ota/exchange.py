"""The folder /data, which an update exchanges for a new one; see docs/DESIGN.md. RAM: about 0.5 KB
while loaded.

There are three folders at most. NEW is what an update brings; the first boot that tries it makes
/data OLD and NEW /data. When the trial is taken back, a boot undoes that. Each is one rename, and
which folders there are tells how far it came before the power failed. What is left in the end is
removed a few files at a time.
"""

import uerrno
import uos
from micropython import const
from ubinascii import unhexlify

from .errors import OTAError

_WRONG_DATA = const(48)

DATA = const("/data")
# Apart from the record: while littlefs has a move to complete, the file behind what is moved is not
# found either.
FOLDER = const("/.ota/data")
NEW = const("/.ota/data/new")
_OLD = const("/.ota/data/old")
IMAGE = const("/.ota/data/image")  # what was received
# In the folder: the SHA-256 of the image that it came from, in hex. It is written last.
_DIGEST = const("/.mpota")
_DIGITS = const(32)

_NEW_DATA = const(1)  # in the record
_IS_FOLDER = const(0x4000)
# So many files are removed at once.
_AT_ONCE = const(8)


def is_there(path):
    """Return whether there is a file or folder *path*. Raises OSError when the flash fails."""
    try:
        uos.stat(path)
        return True
    except OSError as e:
        if e.errno != uerrno.ENOENT:
            raise
        return False


def bring():
    """Make NEW /data, and OLD what /data was, as far as that is not done yet."""
    if is_there(NEW):
        if not is_there(_OLD):
            if is_there(DATA):
                uos.rename(DATA, _OLD)
            else:
                uos.mkdir(_OLD)
        uos.rename(NEW, DATA)


def take_back():
    """Make OLD /data again, and NEW what /data was, as far as that is not done yet."""
    if is_there(_OLD):
        if is_there(DATA):
            remove(NEW)
            uos.rename(DATA, NEW)
        uos.rename(_OLD, DATA)


def settle(boot_record):
    """Take back what the record says is to be taken back, and write that it is done."""
    take_back()
    boot_record.data = 0
    boot_record.store()


def recover():
    """Let there be a folder /data where the record of a half-way exchange is lost."""
    if is_there(_OLD) and not is_there(DATA):
        uos.rename(_OLD, DATA)


def matches(digest, is_new=False):
    """Return whether /data, or NEW, came from the image whose SHA-256 begins with *digest*, hex."""
    try:
        with open((NEW if is_new else DATA) + _DIGEST, "rb") as f:
            return f.read(len(digest)) == digest.encode()
    except OSError:
        return False  # it came from none, or is not complete


def digest():
    """Return how the SHA-256 of the image begins that /data came from, in hex; "" without one."""
    try:
        with open(DATA + _DIGEST, "rb") as f:
            text = f.read(_DIGITS)
        unhexlify(text)  # the application can write there what it likes
        return text.decode()
    except (OSError, ValueError):
        return ""


def tie(manifest, boot_record):
    """Note in *boot_record* whether the data that *manifest* names have come, to be tried with it.

    Raises OTAError 48 where they have not, and are not in /data either.
    """
    boot_record.data = 0
    if matches(manifest["data"], True):
        boot_record.data = _NEW_DATA
    elif not matches(manifest["data"]):
        raise OTAError(_WRONG_DATA, "the data that it names are not there: send both")


def finish(digest):
    """Note in NEW, which is complete, that it came from an image with the SHA-256 *digest*."""
    with open(NEW + _DIGEST, "wb") as f:
        f.write(digest)


def remove(path):
    """Remove the file or folder *path* with all that is in it, if it is there."""
    while _shrink(path):
        pass


def remove_rest():
    """Remove all that an update has left. Only where the record says that nothing is exchanged."""
    remove(FOLDER)


def sweep():
    """Remove a few files of what an update has left; return whether there may be more.

    Nothing is removed that the record still needs.
    """
    for path in (IMAGE, NEW, _OLD, FOLDER):
        if is_there(path):
            from .record import load

            boot_record = load()
            return bool(boot_record and not boot_record.data) and _shrink(path)
    return False


def _shrink(path):
    # Removes some files of the folder *path*, or an empty folder; returns whether there was one.
    if not is_there(path):
        return False
    if not uos.stat(path)[0] & _IS_FOLDER:
        uos.remove(path)
        return True
    while True:
        files = []
        folder = None
        count = 0
        for entry in uos.ilistdir(path):  # to its end, which closes it
            count += 1
            if entry[1] == _IS_FOLDER:
                folder = entry[0]
            elif len(files) < _AT_ONCE:
                files.append(entry[0])
        if not count:
            uos.rmdir(path)
            return True
        if files:
            for name in files:
                uos.remove(path + "/" + name)
            return True
        path += "/" + folder
