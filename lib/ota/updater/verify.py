"""What is checked of an image, before its first byte is programmed and after its last. Part of the
Updater.

Nothing of an image counts before its digests and its signature are good; all is read back from
flash through its controller. RAM: about 1.5 KB while loaded.
"""

import gc

from micropython import const
from ubinascii import hexlify, unhexlify
from uhashlib import sha256

from .. import hal, log, slots
from ..errors import OTAError
from ..record import load_for_update

_MPY_VERSION = const("6.3")
# The largest step from the floor to a release: one absurdly high would end all that come after.
_MAX_JUMP = const(1000000)
# Folders in a ROMFS, one in the other.
_MAX_DEPTH = const(8)
_MAX_NAME = const(100)

# Kinds of the records of a ROMFS. Others have no place in an image.
_PADDING = const(1)
_DATA = const(2)
_FOLDER = const(4)
_FILE = const(5)

# A signature, of 1024 to 4096 bits, and its length.
_MIN_KEY_BYTES = const(128)
_MAX_KEY_BYTES = const(512)
_MAX_TRAILER_BYTES = const(_MAX_KEY_BYTES + 4)

# One long text: each short one would cost 16 bytes of heap.
_KINDS = const("""send what 'mpota pack' makes
an Arduino sketch; this board runs what 'mpota pack' makes
firmware; without a boot loader that goes over serial, by 'mpota flash'
for an ESP32; send what 'mpota pack' makes
a tar; data are sent by 'mpota upload -s'
a littlefs; data are sent by 'mpota upload -s'
a text; send what 'mpota pack' makes""")

_MD5_FAILED = const(7)
_NO_IMAGE = const(10)
_NOT_SIGNED = const(12)
_REJECTED = const(35)
_BELOW_FLOOR = const(36)
_DAMAGED = const(37)
_BAD_ROMFS = const(39)
_WRONG_BOARD = const(41)
_SHA256_FAILED = const(42)
_JUMP = const(43)
_WRONG_APP = const(44)


def refuse_by_head(head, updater):
    """Raise OTAError if the beginning of *updater*'s image, *head*, shows that it is not taken.

    *head* is a memoryview of at least slots.HEAD_BYTES, or of a whole image that has less. That no
    error is raised accepts nothing: the same is asked again of what was verified.
    """
    if not slots.romfs_bytes(head):
        raise OTAError(_NO_IMAGE, _what_it_is(head))
    _judge(slots.read_manifest(head[: slots.HEAD_BYTES]), updater)


def _what_it_is(head):
    # What a file that is no application image seems to be, and what to do.
    kind = 0
    if head[0] == 0xE9:
        # By the page of its entry point: that of Arduino's boot loader, or in the RAM of this chip.
        entry = int.from_bytes(head[5:8], "little") >> 4
        kind = 1 if entry == 0x4010F else 2 if entry >> 8 == 0x401 else 3
    elif bytes(head[257:262]) == b"ustar":
        kind = 4
    elif bytes(head[8:16]) == b"littlefs":
        kind = 5
    elif all(9 <= byte < 127 for byte in head[:32]):
        kind = 6
    return _KINDS.split("\n")[kind]


def _judge(manifest, updater):
    # Asks policy about a release; returns the boot record, which says of the data that it names
    # whether they are tried with it.
    boot_record = load_for_update()
    board = manifest.get("board", "esp8266")
    if board != "esp8266":
        raise OTAError(_WRONG_BOARD, board)
    mpy = manifest.get("mpy", _MPY_VERSION)
    if mpy != _MPY_VERSION:
        raise OTAError(_WRONG_BOARD, ".mpy version " + mpy)
    if updater.app not in (None, "*", manifest["name"]):
        raise OTAError(_WRONG_APP, "%s, not %s" % (manifest["name"], updater.app))
    floor = boot_record.floor
    sequence = manifest["sequence"]
    may_go_back = manifest.get("downgrade") == "yes" and updater.ota.settings.get("allow_downgrade")
    if sequence < floor and not may_go_back:
        raise OTAError(_BELOW_FLOOR, "%d < %d" % (sequence, floor))
    if floor and sequence > floor + _MAX_JUMP:
        raise OTAError(_JUMP, "%d, from %d" % (sequence, floor))
    if sequence == boot_record.rejected:
        raise OTAError(_REJECTED, "sequence %d" % sequence)
    if "data" in manifest:
        from ..exchange import tie

        tie(manifest, boot_record)
    return boot_record


def app_of(slot):
    """Return the name of the application in *slot*; None where there is none that is readable."""
    if slot is None:
        return None
    try:
        return slots.manifest_of(slot)["name"]
    except OTAError:
        return None


def verify(updater):
    """Check all of the image that *updater* has programmed, and set its slot on trial.

    A generator that yields after every block. Raises OTAError.
    """
    start = slots.start(updater.slot)
    size = updater.stored
    head = updater.pages[:16]
    hal.flash_read(start, head)
    length = slots.romfs_bytes(head)
    end = length + slots.FOOTER_BYTES  # of what can be signed
    if not length or end > size:
        raise OTAError(_DAMAGED, "cut off")
    content, signed = yield from compare(updater, length, end if updater.signature else 0)
    head = updater.pages[: slots.FOOTER_BYTES]
    hal.flash_read(start + length, head)
    if not slots.is_footer(bytes(head), length, content):
        raise OTAError(_DAMAGED, "its footer does not match")
    head = None  # the Updater is to be the only owner of the block
    md5 = updater.expected_md5
    if updater.unpacker and updater.unpacker.patcher:
        md5 = None  # of a delta: no server has an image with that
    check_signature(updater, end, signed)
    window = bytearray(slots.HEAD_BYTES)
    yield from _walk(start, length, window)
    hal.flash_read(start, window)
    manifest = slots.read_manifest(window)
    boot_record = _judge(manifest, updater)
    if boot_record.data:  # they have come before, and are tried together with it
        from ..data.copy import keeping

        yield from keeping(manifest)
    slots.mark_accepted(updater.slot)
    # Without an MD5 the record is of what lies in the slot, of which one can be made later.
    received = (updater.progress, unhexlify(md5)) if md5 else (size, b"")
    boot_record.received[updater.slot] = (manifest["sequence"],) + received
    boot_record.try_slot(updater.slot, False, boot_record.data)
    log.info("update: %s %s is verified", manifest["name"], manifest["version"])


def compare(updater, length, end):
    """Read back what *updater* has stored, and compare its digests with those that are expected.

    A generator that yields after every block. Its value is the SHA-256 of the first *length*
    and of the first *end*, None where those are 0. What a gzip was when it was received
    has been hashed already. Raises OTAError 42 or 7.
    """
    size = updater.stored
    pages = updater.pages
    unpacker = updater.unpacker
    whole = sha256() if updater.expected_sha256 and not unpacker else None
    md5_state = updater.md5_state
    content = sha256()
    signed = sha256() if end else None
    for at in range(0, size, len(pages)):
        count = min(len(pages), size - at)
        part = pages[: count + 3 & ~3]
        updater.read_stored(at, part)
        part = part[:count]
        if whole:
            whole.update(part)
        elif md5_state and not unpacker:
            md5_state.update(part)
        if at < length:
            content.update(part[: length - at])
        if signed and at < end:
            signed.update(part[: end - at])
        yield
    if unpacker:
        whole = unpacker.whole
    if whole and whole.digest() != unhexlify(updater.expected_sha256):
        raise OTAError(_SHA256_FAILED, "on the way" if unpacker else "read back from flash")
    if md5_state and not whole:
        updater.md5_state = None
        found = hexlify(md5_state.digest()).decode()
        if found != updater.expected_md5:
            raise OTAError(
                _MD5_FAILED, "expected: %s, calculated: %s" % (updater.expected_md5, found)
            )
    return content.digest(), signed and signed.digest()


def check_signature(updater, end, digest):
    """Check the signature behind byte *end* of what is stored, over what has the SHA-256 *digest*.

    Where a gzip was signed as it was sent, that signature counts. The block is given up, whose only
    owner *updater* is. Raises OTAError 37 where something else is there, and 12.
    """
    size = updater.stored - end
    trailer = updater.pages[: min(size, _MAX_TRAILER_BYTES) + 3 & ~3]
    updater.read_stored(end, trailer)
    unpacker = updater.unpacker
    while True:
        # A signature is followed by its length, 4 bytes.
        length = int.from_bytes(trailer[max(0, size - 4) : size], "little")
        is_good = length + 4 == size and _MIN_KEY_BYTES <= length <= _MAX_KEY_BYTES
        if not (unpacker and unpacker.trailer) or size and not is_good:
            break
        trailer, size = unpacker.trailer, len(unpacker.trailer)
        digest = unpacker.signed and unpacker.signed.digest()
        unpacker = None
    if not is_good and updater.signature:
        raise OTAError(_NOT_SIGNED, "not signed")
    if not is_good and size:
        raise OTAError(_DAMAGED, "%d bytes behind its end are no signature" % size)
    made = bytes(trailer[:length])
    updater.unpacker = unpacker = None
    updater.buffer = updater.pages = trailer = None
    gc.collect()
    if updater.signature:
        # The arithmetic gets the place of the block.
        legacy = updater.ota.settings.get("legacy_signatures")
        updater.signature.verify(digest, made, legacy, updater.trusted)


def _walk(start, length, window):
    # Checks every record of the ROMFS of *length* bytes at *start* in flash, since the firmware's
    # own reader trusts them. Yields after each; *window* is a bytearray to read into.
    reader = _Reader(start, length, window)
    try:
        ends = [reader.enter()]  # where the folders end that the reader is in
        while ends:
            if reader.at == ends[-1]:
                ends.pop()
                continue
            kind, end = reader.record(ends[-1])
            if kind == _FOLDER and len(ends) <= _MAX_DEPTH:
                reader.name(end)
                ends.append(end)
            elif kind == _FILE:
                reader.name(end)
                kind, data_end = reader.record(end)
                if kind == _PADDING:
                    reader.at = data_end
                    kind, data_end = reader.record(end)
                if kind != _DATA or data_end != end:
                    raise ValueError
                reader.at = end
            elif kind == _PADDING:
                reader.at = end
            else:
                raise ValueError
            yield
    except ValueError:
        raise OTAError(_BAD_ROMFS, "at byte %d" % reader.at)


class _Reader:
    # Reads the numbers and names of a ROMFS in flash, a window at a time. Raises ValueError for
    # what is not as docs/SPEC.md says.
    def __init__(self, start, length, window):
        self.at = 0
        self._start = start
        self._length = length
        self._window = window
        self._window_at = -len(window)

    def enter(self):
        # Enters the ROMFS; returns where its records end.
        self.at = 3
        size = self._number(self._length)
        if not 0 <= self._length - self.at - size < 4:
            raise ValueError
        return self.at + size

    def record(self, limit):
        # Enters a record, which must end at *limit* at most; returns its kind and where it ends.
        kind = self._number(limit)
        size = self._number(limit)
        if size > limit - self.at:
            raise ValueError
        return kind, self.at + size

    def name(self, limit):
        # Passes a name, which must end at *limit* at most.
        length = self._number(limit)
        if not 0 < length <= min(_MAX_NAME, limit - self.at):
            raise ValueError
        dots = 0
        for _ in range(length):
            c = self._byte()
            if c == 46:
                dots += 1
            elif not (c == 45 or 48 <= c <= 57 or 65 <= c <= 90 or c == 95 or 97 <= c <= 122):
                raise ValueError
        if dots == length and dots < 3:  # "." and ".."
            raise ValueError

    def _number(self, limit):
        value = 0
        for _ in range(5):
            if self.at >= limit:
                break
            byte = self._byte()
            value = value << 7 | byte & 0x7F
            if value >> 28:
                break
            if byte < 0x80:
                return value
        raise ValueError

    def _byte(self):
        if not 0 <= self.at - self._window_at < len(self._window):
            self._window_at = self.at & ~3
            hal.flash_read(self._start + self._window_at, self._window)
        byte = self._window[self.at - self._window_at]
        self.at += 1
        return byte
