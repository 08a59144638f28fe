"""Application images made by hand, good and bad, and slots, for the tests that run on the board."""

import os

import machine
from esp import flash_erase, flash_read, flash_write
from ota import hal
from uhashlib import sha256

PADDING, DATA, POINTER, FOLDER, FILE = 1, 2, 3, 4, 5

SLOTS = {"a": 0xCE000, "b": 0xE7000}
SLOT_BYTES = 0x19000
LIMIT_BYTES = SLOT_BYTES - 256
SECTOR_BYTES = 4096
MAPPED_AT = 0x40200000
FOOTER_BYTES = 40
# Where the chip keeps its state over a reset.
RTC_STATE = 0x600013FC

APP = b"M\x06\x00\x1f what an application is " * 40
FILES = (("app.mpy", APP), ("lib/valves.mpy", bytes(range(256)) * 5), ("empty", b""))


def uint(n, length=1):
    """Return *n* as a ROMFS writes it, in *length* bytes at least."""
    data = bytes([n & 0x7F])
    n >>= 7
    while n or len(data) < length:
        data = bytes([n & 0x7F | 0x80]) + data
        n >>= 7
    return data


def record(kind, content):
    """Return a record of a ROMFS."""
    return uint(kind) + uint(len(content)) + content


def file(name, data):
    """Return the record of a file."""
    return record(FILE, uint(len(name)) + name.encode() + record(DATA, data))


def folder(name, *records):
    """Return the record of a folder."""
    return record(FOLDER, uint(len(name)) + name.encode() + b"".join(records))


def romfs(*records):
    """Return a ROMFS of *records*."""
    content = b"".join(records)
    return b"\xd2\xcd\x31" + uint(len(content)) + content


def with_footer(data, **replaced):
    """Return *data*, a ROMFS, with zeros up to a multiple of 4 and a footer.

    *replaced* are the footer's `magic`, `length` and `digest`, which are right otherwise.
    """
    data += bytes(-len(data) % 4)
    footer = replaced.get("magic", b"MPOF")
    footer += replaced.get("length", len(data)).to_bytes(4, "little")
    return data + footer + replaced.get("digest", sha256(data).digest())


def manifest(sequence=7, more=b"", name=b"sample"):
    """Return the text of a MANIFEST."""
    text = b"mpota 2\nname %s\nversion 1.2.3\nsequence %d\nboard esp8266\nmpy 6.3\n"
    return text % (name, sequence) + more


def image(sequence=7, files=FILES, more=b"", name=b"sample", text=None):
    """Return an image of *files*, pairs of name and content, in at most one folder.

    *more* are further lines of MANIFEST; *text*, if given, is all of it.
    """
    records = [file("MANIFEST", manifest(sequence, more, name) if text is None else text)]
    for path, data in files:
        parts = path.split("/")
        made = file(parts[-1], data)
        records.append(folder(parts[0], made) if len(parts) > 1 else made)
    return with_footer(romfs(*records))


def image_of(size, sequence=7):
    """Return an image of *size* bytes, which are a multiple of 4."""
    length = size - len(image(sequence, ()))
    while True:
        made = image(sequence, (("data", b"\x5a" * length),))
        if len(made) <= size:
            break
        length -= len(made) - size
    # What is missing, for want of a longer number in a record, is padding.
    missing = size - len(made)
    records = [file("MANIFEST", manifest(sequence)), file("data", b"\x5a" * length)]
    if missing:
        records.append(record(PADDING, bytes(missing - 2)))
    made = with_footer(romfs(*records))
    assert len(made) == size
    return made


def fill_slot(slot, data, accepted=True, rejected=False):
    """Write *data* and its marks to *slot*, and erase everything else in it."""
    clear_slot(slot)
    start = SLOTS[slot]
    flash_write(start, bytearray(data + bytes(-len(data) % 4)))
    if accepted:
        flash_write(start + SLOT_BYTES - 8, bytearray(b"ACPT"))
    if rejected:
        flash_write(start + SLOT_BYTES - 4, bytearray(b"RJCT"))


def clear_slot(slot):
    """Erase *slot*, if it is not blank."""
    for at in range(SLOTS[slot], SLOTS[slot] + SLOT_BYTES, SECTOR_BYTES):
        if flash_read(at, SECTOR_BYTES) != b"\xff" * SECTOR_BYTES:
            flash_erase(at // SECTOR_BYTES)


def content_of(slot, size=SLOT_BYTES):
    """Return the first *size* bytes of *slot*."""
    return flash_read(SLOTS[slot], size + 3 & ~3)[:size]


def marks_of(slot):
    """Return the two marks of *slot*, accepted and rejected, as eight bytes."""
    return flash_read(SLOTS[slot] + SLOT_BYTES - 8, 8)


def runs(slot, is_trial=False):
    """Set the state of a boot that runs *slot*, or no application (None)."""
    what = slot or hal.NOTHING
    hal.set_state(0, what.upper() if is_trial else what)


def code_of(function, *args, **named):
    """Return the number of the OTAError that the call raises; None when it raises nothing."""
    from ota.errors import OTAError

    try:
        function(*args, **named)
    except OTAError as e:
        return e.code
    return None


def error_of(function, *args, **named):
    """Return the text of the OTAError that the call raises; None when it raises nothing."""
    from ota.errors import OTAError

    try:
        function(*args, **named)
    except OTAError as e:
        return str(e)
    return None


def empty_board():
    """Set the state of a board after a power cut, without a record, with both slots blank."""
    for name in ("/.ota/record", "/.ota/record.new"):
        try:
            os.remove(name)
        except OSError:
            pass
    for slot in "ab":
        clear_slot(slot)
    machine.mem32[RTC_STATE] = 0xA5A5A5A5
