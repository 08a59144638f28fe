"""The folder /data, which an update exchanges for a new one; see docs/DESIGN.md. RAM: about 0.5 KB
while loaded.

There are three folders at most. NEW is the folder that an update brings; the first boot that tries
it renames /data to OLD, and NEW to /data. When the trial is taken back, a boot undoes this. If the
power fails between two renames, the folders that exist tell how far the exchange came. The folder
that is not needed any more is removed a few files at a time.
"""

import uerrno
import uos
from micropython import const
from ubinascii import unhexlify

from .errors import OTAError

_WRONG_DATA = const(48)

DATA = const("/data")
# In another folder than the record: while littlefs has a rename to complete, the file behind the
# renamed one is not found either.
FOLDER = const("/.ota/data")
NEW = const("/.ota/data/new")
_OLD = const("/.ota/data/old")
IMAGE = const("/.ota/data/image")  # the data image that was received
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
    """Rename /data to OLD, and NEW to /data, as far as that is not done yet."""
    if is_there(NEW):
        if not is_there(_OLD):
            if is_there(DATA):
                uos.rename(DATA, _OLD)
            else:
                uos.mkdir(_OLD)
        uos.rename(NEW, DATA)


def take_back():
    """Rename /data to NEW, and OLD to /data, as far as that is not done yet."""
    if is_there(_OLD):
        if is_there(DATA):
            remove(NEW)
            uos.rename(DATA, NEW)
        uos.rename(_OLD, DATA)


def settle(boot_record):
    """Take back new data if the record says so, and write to the record that it is done."""
    take_back()
    boot_record.data = 0
    boot_record.store()


def recover():
    """If the record of an unfinished exchange is lost, see to it that there is a folder /data."""
    if is_there(_OLD) and not is_there(DATA):
        uos.rename(_OLD, DATA)


def matches(digest, is_new=False):
    """Return whether /data, or NEW, came from the image whose SHA-256 begins with *digest*, hex."""
    try:
        with open((NEW if is_new else DATA) + _DIGEST, "rb") as f:
            return f.read(len(digest)) == digest.encode()
    except OSError:
        return False  # the folder came from no image, or is not complete


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
    """Note in *boot_record* if the data that *manifest* names were received, to be tried with it.

    Raises OTAError 48 if they were not received, and are not in /data either.
    """
    boot_record.data = 0
    if matches(manifest["data"], True):
        boot_record.data = _NEW_DATA
    elif not matches(manifest["data"]):
        raise OTAError(_WRONG_DATA, "the data that it names are not there: send both")


def finish(digest):
    """Write to NEW, which is complete, the SHA-256 *digest* of the image that it came from."""
    with open(NEW + _DIGEST, "wb") as f:
        f.write(digest)


def remove(path):
    """Remove the file or folder *path* with all that is in it, if it is there."""
    while _shrink(path):
        pass


def remove_rest():
    """Remove everything that an update has left; only call it if no exchange is in the record."""
    remove(FOLDER)


def sweep():
    """Remove a few files that an update has left; return whether there may be more of them.

    Files that the record still needs are kept.
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
