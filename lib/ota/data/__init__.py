"""A data image, for the folder /data: it is received into a file, checked like an application's
image, and unpacked beside /data. Part of the Updater.

The content of an image is used only after its digests and its signature were checked; its first
bytes can only refuse it. RAM: about 2 KB while loaded, beside the Updater's.
"""

import uos
from micropython import const
from ubinascii import hexlify

from .. import exchange, log, slots
from ..errors import OTAError
from ..record import load_for_update
from ..updater.verify import check_signature, compare
from . import littlefs, tar
from .copy import COPY_BYTES, copying, keeping, made_folders
from .tar import bad

# The limits of an image's content.
_MAX_NAME = const(100)
_MAX_DEPTH = const(8)
_MAX_ENTRIES = const(1000)
# Errors that an image is to blame for: ENOENT, EEXIST, ENOTDIR and EISDIR, where a name is a file's
# and a folder's, too; EILSEQ, where a littlefs is damaged.
_FAULTS = const(b"\x02\x11\x14\x15\x54")
_DIGEST = const(b".mpota")  # what exchange.py writes into the folder

# The file system: the size of a block, nearly all of which holds a file's data; files up to a size
# lie in their folder; the room for a folder, and what must stay free for littlefs itself.
_BLOCK_BYTES = const(4096)
_DATA_BYTES = const(4080)
_INLINE_BYTES = const(128)
_FOLDER_BLOCKS = const(2)
_ENTRIES_OF_BLOCK = const(16)
_SPARE_BLOCKS = const(8)

# A signature, of 1024 to 4096 bits.
_MIN_KEY_BYTES = const(128)
_MAX_KEY_BYTES = const(512)

_NO_ROOM = const("%d bytes for data, the file system has room for %d")

_NEW_DATA = const(1)  # in the record

_NO_SPACE = const(4)
_DAMAGED = const(37)
_NO_DATA_IMAGE = const(46)
_WRONG_DATA = const(48)


def begin(updater, boot_record):
    """Remove the rests of earlier updates; raise OTAError 4 if there is no room for the image."""
    if not boot_record.data:
        exchange.remove_rest()
    updater.ota.has_staged_data = False
    _check_room(updater.remaining)


def free_space():
    """Return how many bytes the file system has room for."""
    return max(0, uos.statvfs("/")[3] - _SPARE_BLOCKS) * _DATA_BYTES


def _check_room(size):
    # Raises OTAError 4 if the file system has no room for *size* bytes.
    free = free_space()
    if size > free:
        raise OTAError(_NO_SPACE, _NO_ROOM % (size, free))


def refuse_by_head(head, updater):
    """Raise OTAError if the beginning of *updater*'s image, *head*, shows that it is not taken."""
    if littlefs.is_head(head):
        return
    if not tar.is_head(head):
        raise OTAError(_NO_DATA_IMAGE, _what_it_is(head))
    if not updater.unpacker:  # as many bytes as the tar has will be unpacked, or nearly so
        _check_room(2 * (updater.progress + updater.remaining))


def _what_it_is(head):
    # Returns what a file that is not a data image seems to be, and what to do.
    what = ""
    if head[:3] == b"\xd2\xcd\x31":
        what = "an application; "
    elif head[:2] == b"PK":
        what = "a zip; "
    elif head[510:512] == b"\x55\xaa":
        what = "FAT; "
    elif head[:2] == b"\x01\x80":  # the first object's header, in the table of the first block
        what = "SPIFFS; "
    return what + "send a tar or a littlefs, as 'mpota mkdata' makes them"


def append(updater):
    """Append the pages that *updater* has gathered to the file."""
    if updater.file is None:
        refuse_by_head(updater.pages[: updater.filled], updater)
        if not exchange.is_there(exchange.FOLDER):
            uos.mkdir(exchange.FOLDER)
        updater.file = open(exchange.IMAGE, "w+b")
    updater.file.write(updater.pages[: updater.filled])


def verify(updater):
    """Check all of the image that *updater* has written, unpack it, and set it on trial.

    A generator that yields after every piece. Raises OTAError.
    """
    updater.file.close()
    file = updater.file = open(exchange.IMAGE, "rb")
    image = _opened(updater)
    if image.end > updater.stored:
        raise OTAError(_DAMAGED, "cut off")
    digest, _ = yield from compare(updater, image.end, 0)
    check_signature(updater, image.end, digest)
    boot_record = load_for_update()
    manifest = {}
    if boot_record.active:
        manifest = slots.manifest_of(boot_record.active)
    digest = hexlify(digest)
    if not updater.app:
        named = manifest.get("data", "").encode()
        if digest[: len(named)] != named:
            raise OTAError(_WRONG_DATA, "the one that runs names others: send both")
    yield from _unpack(image)
    if not updater.app:
        yield from keeping(manifest)
    exchange.finish(digest)
    updater.file = image = None
    file.close()
    exchange.remove(exchange.IMAGE)
    if not updater.app:
        boot_record.try_slot(boot_record.active, False, _NEW_DATA)
    log.info("update: data are verified and unpacked")


def read_stored(updater, at, view):
    """Read *view* of what *updater* has written, from byte *at* on."""
    updater.file.seek(at)
    updater.file.readinto(view)
    updater.file.seek(0, 2)


def _opened(updater):
    # Returns an object for the kind of image, which knows where the image ends.
    head = updater.pages[:512]
    updater.read_stored(0, head)
    if littlefs.is_head(head):
        return littlefs.LittleFS(updater.file, head)
    if not tar.is_head(head):
        raise OTAError(_DAMAGED, "read back, it is no data image")
    size = updater.stored
    updater.read_stored(size - 4, head[:4])
    length = int.from_bytes(head[:4], "little")
    is_signed = _MIN_KEY_BYTES <= length <= _MAX_KEY_BYTES
    return tar.Tar(updater.file, max(0, size - length - 4) if is_signed else size)


# Unpacking. An image has `entries()`, a generator of (name, size, at) with the name as bytes, and
# the size None for a folder; `open(name, at)`, which returns a file that is at the beginning of the
# content; and `close()`, which closes that file.


def _unpack(image):
    # Makes the folder NEW of an image. A generator.
    try:
        yield from _unpacking(image)
    except OSError as e:
        if e.errno in _FAULTS:
            raise bad("error %d of the file system" % e.errno)
        raise
    finally:
        image.close()


def _unpacking(image):
    blocks = count = 0
    folder = None
    for name, size, _ in image.entries():
        name = _checked(name)
        count += 1
        if count > _MAX_ENTRIES:
            raise bad("more than 1000 files and folders")
        at = name.rfind("/")
        if size is None or name[: max(0, at)] != folder:
            folder = name[: max(0, at)]
            blocks += _FOLDER_BLOCKS
        if size and size > _INLINE_BYTES:
            blocks += -(-size // _DATA_BYTES)
        yield
    blocks += count // _ENTRIES_OF_BLOCK
    free = uos.statvfs("/")[3] - _SPARE_BLOCKS
    if blocks > free:
        raise OTAError(_NO_SPACE, _NO_ROOM % (blocks * _BLOCK_BYTES, free * _BLOCK_BYTES))
    exchange.remove(exchange.NEW)
    uos.mkdir(exchange.NEW)
    buffer = memoryview(bytearray(2 * COPY_BYTES))
    for name, size, at in image.entries():
        name = _checked(name)
        path = made_folders(name, size is None)
        if size is not None:
            if exchange.is_there(path):
                raise bad("%s is there twice" % name)
            source = image.open(name, at)
            yield from copying(source, size, path, buffer)


def _checked(name):
    # Returns the text of *name*, bytes, a path below /data. Raises OTAError 47.
    parts = name.split(b"/")
    is_good = len(name) <= _MAX_NAME and len(parts) <= _MAX_DEPTH + 1 and parts[0] != _DIGEST
    for part in parts:
        is_good = is_good and part not in (b"", b".", b"..")
    for c in name:
        is_letter = 65 <= c <= 90 or 97 <= c <= 122
        is_good = is_good and (is_letter or 45 <= c <= 57 or c == 95)  # 45 to 57: - . / digits
    if not is_good:
        raise bad("the name %r" % name[:_MAX_NAME])
    return name.decode()
