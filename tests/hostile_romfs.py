"""ROMFS images that lie, each in one way: what no board may mount and no host may read.

Every record here is made by hand, since mpremote's writer makes good ones only.
"""

import hashlib
import random
import struct

PADDING, DATA, POINTER, FOLDER, FILE = 1, 2, 3, 4, 5
MANIFEST = b"mpota 2\nname small\nversion 1\nsequence 1\nboard esp8266\nmpy 6.3\n"

_BAD_NAMES = (b"", b".", b"..", b"a/b", b"/a", b"a\0", b"a b", b"a\\b", b"a:b", b"\xc3\xa4", b"a\n",
              b"~", b"x" * 101)  # fmt: skip
_BAD_KINDS = (0, POINTER, 6, 7, 127, 128, 0x14A6B1)


def uint(value: int, bytes_before: int = 0) -> bytes:
    """Return a number as a ROMFS writes it, with leading bytes that do not change its value."""
    encoded = [value & 0x7F]
    while value := value >> 7:
        encoded.insert(0, 0x80 | value & 0x7F)
    return b"\x80" * bytes_before + bytes(encoded)


def record(kind: int, payload: bytes, stated: int | None = None) -> bytes:
    """Return a record, which says that its payload has *stated* bytes if that is given."""
    return uint(kind) + uint(len(payload) if stated is None else stated) + payload


def file(name: bytes, content: bytes, stated: int | None = None) -> bytes:
    return record(FILE, uint(len(name)) + name + record(DATA, content), stated)


def folder(name: bytes, *records: bytes, stated: int | None = None) -> bytes:
    return record(FOLDER, uint(len(name)) + name + b"".join(records), stated)


def filesystem(*records: bytes) -> bytes:
    """Return a ROMFS whose length is right, padded to a multiple of 4 bytes."""
    payload = b"".join(records)
    length = uint(len(payload))
    if (3 + len(length) + len(payload)) % 2:
        length = b"\x80" + length
    romfs = b"\xd2\xcd\x31" + length + payload
    return romfs + bytes(-len(romfs) % 4)


def with_footer(romfs: bytes) -> bytes:
    """Return an image of *romfs*, as it is, whose footer is right."""
    footer = struct.pack("<4sI32s", b"MPOF", len(romfs), hashlib.sha256(romfs).digest())
    return romfs + footer


def hostile_image(rng: random.Random) -> tuple[str, bytes]:
    """Return what is wrong in an image, and the image, whose footer is right.

    It is a good one with one hostile record more, at the top or in a folder.
    """
    fault = rng.choice(_FAULTS)
    records = [_content(rng, f"n{n}".encode()) for n in range(rng.randrange(3))]
    records.insert(rng.randrange(len(records) + 1), fault(rng))
    for n in range(rng.randrange(4)):
        records = [folder(b"f%d" % n, *records), _content(rng, b"m%d" % n)]
    return fault.__name__, with_footer(filesystem(file(b"MANIFEST", MANIFEST), *records))


def _bytes(rng: random.Random) -> bytes:
    # None of these bytes is a kind of record, should one be taken for that.
    return bytes(rng.randrange(6, 0x80) for _ in range(rng.randrange(1, 60)))


def _content(rng: random.Random, name: bytes) -> bytes:
    return file(name, _bytes(rng)) if rng.randrange(4) else folder(name, file(b"x", _bytes(rng)))


def _named(name: bytes) -> bytes:
    return uint(len(name)) + name


# Each gives one hostile record.


def a_kind_that_is_not_allowed_in_a_folder(rng):
    return record(rng.choice((DATA, *_BAD_KINDS)), _named(b"x") + record(DATA, _bytes(rng)))


def a_kind_that_is_not_allowed_in_a_file(rng):
    inside = [record(DATA, _bytes(rng))]
    bad = record(rng.choice((FILE, FOLDER, *_BAD_KINDS)), uint(4) + uint(rng.randrange(2**27)))
    inside.insert(rng.randrange(2), bad)
    return record(FILE, _named(b"x") + b"".join(inside))


def a_pointer_in_the_place_of_data(rng):
    pointer = uint(rng.randrange(2**20)) + uint(rng.randrange(2**28))
    return record(FILE, _named(b"x") + record(POINTER, pointer))


def a_file_without_data(rng):
    return record(FILE, _named(b"x") + rng.choice((b"", record(PADDING, b"ab"))))


def a_file_with_two_records_of_data(rng):
    return record(FILE, _named(b"x") + 2 * record(DATA, _bytes(rng)))


def a_file_that_goes_on_behind_its_data(rng):
    return record(FILE, _named(b"x") + record(DATA, _bytes(rng)) + record(PADDING, b"ab"))


def a_file_longer_than_it_is(rng):
    content = _bytes(rng)
    more = rng.choice((1, 2, 3, 4, 100, 2**14, 2**28 - 200))
    return file(b"x", content, len(content) + 3 + len(uint(len(content))) + more)


def a_file_shorter_than_it_is(rng):
    content = _bytes(rng)
    whole = len(content) + 3 + len(uint(len(content)))
    return file(b"x", content, rng.randrange(whole))


def data_longer_than_its_file(rng):
    content = _bytes(rng)
    more = rng.choice((1, 2, 3, 4, 100, 2**14, 2**28 - 200))
    return record(FILE, _named(b"x") + record(DATA, content, len(content) + more))


def data_shorter_than_it_is(rng):
    content = _bytes(rng)
    return record(FILE, _named(b"x") + record(DATA, content, rng.randrange(len(content))))


def a_folder_longer_than_it_is(rng):
    inside = file(b"x", _bytes(rng))
    more = rng.choice((1, 2, 3, 2**14, 2**28 - 200))  # no other record has as few bytes
    return folder(b"y", inside, stated=2 + len(inside) + more)


def a_folder_shorter_than_it_is(rng):
    inside = file(b"x", _bytes(rng))
    return folder(b"y", inside, stated=2 + rng.randrange(1, len(inside)))


def a_name_longer_than_its_record(rng):
    kind, more = rng.choice((FILE, FOLDER)), rng.choice((1, 2, 100, 2**14, 2**28 - 1))
    return record(kind, uint(1 + more) + b"x")


def a_name_that_is_not_allowed(rng):
    name, content = rng.choice(_BAD_NAMES), _bytes(rng)
    return rng.choice((file(name, content), folder(name, file(b"x", content))))


def a_record_that_ends_in_its_header(rng):
    return folder(b"y", rng.choice((b"\x05", b"\x85", b"\x05\x80", b"\x80\x80")))


def a_number_that_does_not_end(rng):
    return folder(b"y", rng.choice((b"", b"\x05", b"\x05\x03")) + b"\x80" * rng.randrange(4, 40))


def a_number_that_32_bits_do_not_hold(rng):
    # A board that kept shifting would read a correct number.
    kind, length = 2**32 + FILE, len(_named(b"x")) + 3
    data = _named(b"x") + record(DATA, b"a")
    return rng.choice(
        (
            uint(kind) + uint(length) + data,
            uint(FILE) + uint(2**32 + length) + data,
            record(FILE, uint(2**32 + 1) + b"x" + record(DATA, b"a")),
        )
    )


def too_many_folders(rng):
    inside = file(b"x", b"a")
    for _ in range(rng.choice((9, 10, 20, 300))):
        inside = folder(b"d", inside)
    return inside


_FAULTS = (
    a_kind_that_is_not_allowed_in_a_folder,
    a_kind_that_is_not_allowed_in_a_file,
    a_pointer_in_the_place_of_data,
    a_file_without_data,
    a_file_with_two_records_of_data,
    a_file_that_goes_on_behind_its_data,
    a_file_longer_than_it_is,
    a_file_shorter_than_it_is,
    data_longer_than_its_file,
    data_shorter_than_it_is,
    a_folder_longer_than_it_is,
    a_folder_shorter_than_it_is,
    a_name_longer_than_its_record,
    a_name_that_is_not_allowed,
    a_record_that_ends_in_its_header,
    a_number_that_does_not_end,
    a_number_that_32_bits_do_not_hold,
    too_many_folders,
)
FAULTS = tuple(fault.__name__ for fault in _FAULTS)
