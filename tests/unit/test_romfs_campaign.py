"""Images with mutated records and correct digests: they are refused, or they are good after all.

conftest.py judges by the host's reader what the board has taken. In a whole campaign there are
10,000, otherwise a sample of them.
"""

import json
import random
from binascii import hexlify

import ota
import vfs
from flash_stubs import Watched
from ota import slots, updater
from ota.errors import OTAError
from ota.record import Record, load
from ota.updater import Updater
from sample_image import (
    DATA,
    FILE,
    FOLDER,
    PADDING,
    SLOT_BYTES,
    SLOTS,
    empty_board,
    file,
    fill_slot,
    folder,
    image,
    manifest,
    marks_of,
    record,
    runs,
    uint,
    with_footer,
)

_WHOLE, _SAMPLE = 10000, 1000
# No walk over as few bytes has as many steps.
_MAX_STEPS = 2000

_PADDED = record(FILE, b"\1p" + record(PADDING, b"??") + record(DATA, b"padded"))
_DEEP = folder("a", folder("b", folder("c", folder("d", file("e", b"deep")))))
_TREES = (
    [file("app.mpy", b"M\6" + bytes(40)), folder("lib", file("v.mpy", bytes(30)), file("x", b""))],
    [record(PADDING, b"..."), _PADDED, folder("empty"), _DEEP, record(PADDING, b"")],
    [folder("n" * 100, file("m" * 100, b"1")), file("z", bytes(130))],
    [folder("f%d" % i, file("g", b"%d" % i)) for i in range(6)],
)

# Numbers that lead astray: none, one too few or too many, out of the slot, with and without a sign.
_NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 99, 100, 101, 126, 127, 128, 129, 255, 256, 4096, 0x4000)
_LARGE = (0x19000, 0x1FFFFF, 0x7FFFFFF, 0xFFFFFFF, 0x10000000, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 34)


def _numbers(content, at, end, places):
    # Fills *places* with where the numbers of all records in *content* are: (at, bytes).
    while at < end:
        kind, kind_end = slots.decode_uint(content, at)
        size, inside = slots.decode_uint(content, kind_end)
        places += [(at, kind_end - at), (kind_end, inside - kind_end)]
        if kind in (FILE, FOLDER):
            length, name = slots.decode_uint(content, inside)
            places.append((inside, name - inside))
            _numbers(content, name + length, inside + size, places)
        at = inside + size


def _random(n):
    return random.getrandbits(24) % n


def _other_number():
    n = (_NUMBERS + _LARGE)[_random(len(_NUMBERS) + len(_LARGE))]
    # Some of them are longer than they need to be.
    return uint(n, 1 + (_random(6) if _random(4) == 0 else 0))


def _mutated(tree, places):
    # *tree* with one to three changes, most of them in its numbers.
    data = bytearray(tree)
    for _ in range(1 + _random(3)):
        at, size = places[_random(len(places))]
        at = min(at, len(data))
        kind = _random(10)
        if kind < 4:
            data[at : at + size] = _other_number()
        elif kind < 6 and at < len(data):
            data[at] = (data[at] + _random(5) - 2) & 0xFF
        elif kind == 6 and at < len(data):
            data[at] ^= 1 << _random(8)
        elif kind == 7:
            data[at:at] = bytes([_random(256) for _ in range(_random(5))])
        elif kind == 8:
            data[at : at + 1 + _random(4)] = b""
        else:
            # A piece of it once more, somewhere else.
            begin, _ = places[_random(len(places))]
            data[at:at] = data[begin : begin + _random(60)]
    return bytes(data)


def _image_number(n, originals):
    # Returns the ROMFS of mutant number *n*, with what fills it up; MANIFEST is whole in most.
    random.seed(n)
    tree, places = originals[_random(len(originals))]
    first = file("MANIFEST", manifest())
    if _random(12) == 0:
        whole = first + tree
        first_places = []
        _numbers(first, 0, len(first), first_places)
        content = _mutated(whole, first_places + [(at + len(first), size) for at, size in places])
    else:
        content = first + _mutated(tree, places)
    length = len(content)
    if _random(12) == 0:
        length = max(0, length + _random(9) - 4)
    head = b"\xd2\xcd\x31" + uint(length)
    # The footer stands where the head says that the ROMFS ends.
    data = (head + content)[: len(head) + length]
    data += bytes(len(head) + length - len(data))
    return data + bytes(-len(data) % 4)


def test_no_image_with_mutated_records_is_taken_unless_they_are_good_and_none_is_mounted():
    with open("/campaign.json") as f:
        campaign = json.load(f)
    count = _WHOLE if campaign["whole"] else _SAMPLE
    first = campaign["seed"]
    originals = []
    for records in _TREES:
        tree = b"".join(records)
        places = []
        _numbers(tree, 0, len(tree), places)
        originals.append((tree, places))

    def mount(*args):
        raise AssertionError("it was mounted")

    empty_board()
    fill_slot("a", image(5))
    runs("a")
    r = Record()
    r.active = "a"
    r.store()
    services = ota.OTA()
    services.settings = {"app": "*"}
    u = Updater(services)
    updater.gc = _Gc()
    real, vfs.mount = vfs.mount, mount
    codes = {}
    try:
        for n in range(first, first + count):
            data = with_footer(_image_number(n, originals))
            try:
                code = _update(u, data)
            except Exception as e:
                print("image number", n, hexlify(data))
                raise e
            codes[code] = codes.get(code, 0) + 1
            if code is None:
                assert marks_of("b")[:4] == b"ACPT" and load().trial == "b"
                print("taken", hexlify(data).decode())
                slots.erase_marks("b")
            else:
                assert code in (10, 37, 38, 39), (n, code)
                assert marks_of("b") == b"\xff" * 8 and load().trial is None, n
    finally:
        vfs.mount = real
    text = "figure images with mutated records, from number %d on: %d/%d, of which %d are good"
    print(text % (first, count, count, codes[None]))
    assert codes[39] > count // 2 and codes[None] > count // 100, codes


class _Gc:
    """A `gc` that collects nothing: of this test's large heap that takes longer than the rest."""

    def collect(self):
        pass

    def mem_free(self):
        return 1 << 20


def _update(u, data):
    # Returns the number of the error of an update with *data*, None when it is taken.
    end = SLOTS["b"] + SLOT_BYTES
    try:
        with Watched() as flash:
            u.begin(len(data))
            u.write(data)
            for steps, _ in enumerate(u.ending()):
                assert steps < _MAX_STEPS
    except OTAError as e:
        return e.code
    finally:
        for _, offset, count in flash.done:
            assert SLOTS["a"] <= offset and offset + count <= end
    return None
