"""Tars and littlefs images that were mutated: each is unpacked or refused, nothing lies outside of
its folder, and the heap comes back.

In whole campaigns there are 100,000 of each kind, otherwise a sample of them.
"""

import gc
import json
import random
from binascii import crc32
from io import BytesIO

from memory_files import Files
from ota import data, exchange
from ota.data import copy, littlefs, tar
from ota.errors import OTAError
from sample_tar import BLOCK, GNU, V7, entry, header
from sample_tar import tar as tar_of_entries

_WHOLE = 100000
_TARS, _LITTLEFS = 3000, 1000  # in a sample
_LOOK_EVERY = 500  # mutants, at the heap
_NEW = "/.ota/data/new"
_REFUSALS = (4, 37, 47)
_NAMED = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/"


def _random(n):
    return random.getrandbits(24) % n


def _campaign(sample):
    # Returns the number of the first mutant, and how many there are.
    with open("/campaign.json") as f:
        campaign = json.load(f)
    return campaign["seed"], _WHOLE if campaign["whole"] else sample


def _unpacked(image, end):
    # Unpacks *image* in memory; returns the number of the error, None where there was none.
    files = Files()
    for path in ("/.ota", "/.ota/data"):
        files.mkdir(path)
    modules = (data, copy, exchange)
    for module in modules:
        module.uos = files
    copy.open = files.open
    try:
        for _ in data._unpack(image):
            pass
        code = None
    except OTAError as e:
        code = e.code
    finally:
        for module in modules:
            module.uos = _uos
        del copy.open
    total = 0
    for path in files.nodes:
        if path in ("", "/.ota", "/.ota/data", _NEW):
            continue
        content = files.nodes[path]
        total += len(content or b"")
        name = path[len(_NEW) + 1 :].encode()
        assert path.startswith(_NEW + "/") and len(name) <= 100, path
        assert all(byte in _NAMED for byte in name), path
        for part in name.split(b"/"):
            assert part not in (b"", b".", b".."), path
        assert name.split(b"/")[0] != b".mpota"
    assert total <= end
    return code


_uos = data.uos


def _run(kind, sample, make):
    # Unpacks mutants, each of which *make* returns for its number: an image, and its size.
    first, count = _campaign(sample)
    codes = {}
    used = most = 0
    for n in range(first, first + count):
        random.seed(n)
        try:
            code = _unpacked(*make())
        except Exception as e:
            print("mutant number", n)
            raise e
        codes[code] = codes.get(code, 0) + 1
        assert code is None or code in _REFUSALS, (n, code)
        if n % _LOOK_EVERY == 0:
            gc.collect()
            used = used or gc.mem_alloc()
            most = max(most, gc.mem_alloc())
    good = codes.get(None, 0)
    text = "figure mutated %s, from number %d on: %d/%d, of which %d are unpacked"
    print(text % (kind, first, count, count, good))
    assert count // 50 < good < count * 9 // 10 and most - used < 4096, (codes, most - used)


# Tars

_PARTS = (
    (header(b"./", kind=b"5"), entry(b"./index.html", b"<p>" * 300), entry(b"./a/b", b"1")),
    (header(b"logs/", kind=b"5"), entry(b"fonts/a.bin", bytes(range(256)) * 3), entry(b"empty")),
    (entry(b"long" * 20, b"x" * 512, prefix=b"some"), entry(b"v7", b"7", magic=V7)),
    (entry(b"gnu", b"2" * 1025, magic=GNU), entry(b"x/y/z", b"3"), entry(b"x/y/w", b"4")),
    (
        entry(b"PaxHeaders/a", b"30 mtime=1700000000.1234567890\n", kind=b"x"),
        entry(b"a", b"1"),
        entry(b"c/d", b"5" * 600),
    ),
)
# Places in a header that mean something: the name, the size, the sum, the kind, the magic, the
# beginning of a name.
_PLACES = ((0, 12), (124, 12), (148, 8), (156, 1), (257, 8), (345, 12))
_BYTES = b"\0 \n./-0157agxLK\x80\xff"
_NAMES = (b"../a", b"/a", b"a//b", b".mpota", b"a/..", b"index.html/x", b"a/b", b"empty", b"logs")


def _sealed(block):
    # A header with the sum that is right for it.
    total = sum(block) - sum(block[148:156]) + 8 * 32
    block[148:156] = b"%06o\0 " % total
    return block


def _tar():
    entries = []
    for part in _PARTS[_random(len(_PARTS))] + _PARTS[_random(len(_PARTS))]:
        entries.append(bytearray(part))
    for _ in range(1 + _random(3)):
        block = entries[_random(len(entries))]
        if len(block) < BLOCK:  # it was cut off before
            continue
        kind = _random(10)
        at, size = _PLACES[_random(len(_PLACES))]
        if kind < 4:
            block[at + _random(size)] = _BYTES[_random(len(_BYTES))]
        elif kind == 4:
            block[_random(len(block))] ^= 1 << _random(8)
        elif kind == 5:
            name = _NAMES[_random(len(_NAMES))]
            block[: len(name) + 1] = name + b"\0"
        elif kind == 6:
            block[124:136] = b"%011o\0" % _random(1 << (1 + _random(23)))
        elif kind == 7:
            entries.insert(_random(len(entries)), block[: (1 + _random(3)) * BLOCK])
        elif kind == 8:
            end = _random(len(block))
            block[end:] = b""
        else:
            block.extend(bytes([_random(256)]) * _random(700))
        if len(block) >= BLOCK and _random(4):
            block[:BLOCK] = _sealed(block[:BLOCK])
    made = tar_of_entries(*[bytes(block) for block in entries])
    kind = _random(12)
    if kind == 0:
        made = made[: _random(len(made))]
    elif kind == 1:
        made += bytes(_random(3) * BLOCK) + entries[0]
    return tar.Tar(BytesIO(made), len(made)), len(made)


def test_whatever_is_changed_in_a_tar_it_is_unpacked_or_refused():
    _run("tars", _TARS, _tar)


# Littlefs

_VECTORS = ("2.0-4096-python", "2.1-4096-mklittlefs", "2.1-8192-python")
_TAG_BYTES = 4
_INVALID, _CRC_KIND = 0x80000000, 0x500


class _Original:
    # A littlefs, where the tags of its metadata blocks are, and where their CRCs.

    def __init__(self, content, block_bytes):
        self.content = content
        self.commits = []  # (beginning, [places of tags], place of the CRC)
        for at in range(0, len(content), block_bytes):
            self._read(at, at + block_bytes)
        assert len(self.commits) > 4, len(self.commits)

    def _read(self, begin, end):
        at = begin + 4  # the revision
        before = 0xFFFFFFFF
        places = []
        while at + _TAG_BYTES <= end:
            tag = int.from_bytes(self.content[at : at + 4], "big") ^ before
            if tag & _INVALID:
                return
            places.append(at)
            kind = tag >> 20
            size = tag & 0x3FF
            before = tag
            if kind & 0x7FE == _CRC_KIND:
                crc = crc32(self.content[begin : at + 4]) ^ 0xFFFFFFFF
                if int.from_bytes(self.content[at + 4 : at + 8], "little") != crc:
                    return
                if len(places) > 1:
                    self.commits.append((begin, places, at + 4))
                begin = at + 4 + size
                places = []
                before ^= (kind & 1) << 31
            at += 4 + (0 if size == 0x3FF else size)


def _mutated(original):
    content = bytearray(original.content)
    for _ in range(1 + _random(3)):
        begin, tags, crc_at = original.commits[_random(len(original.commits))]
        kind = _random(8)
        if kind < 3:
            # One tag: what it is, whose it is, or how long. The next one is written as the
            # difference from it.
            i = _random(len(tags) - 1)
            bits = (
                1 << _random(31) | 1 << _random(31) if _random(2) else 1 << _random(31)
            ).to_bytes(4, "big")
            for at in tags[i : i + 2]:
                for j in range(4):
                    content[at + j] ^= bits[j]
        elif kind < 6:
            # What a tag is about: a name, a size, a pointer, the superblock.
            at = begin + 4 + _random(crc_at - begin - 8)
            content[at] = (0, 1, 2, 47, 46, 255, content[at] ^ 1 << _random(8))[_random(7)]
        elif kind == 6:
            content[begin : begin + 4] = _random(1 << 20).to_bytes(4, "little")
        else:
            other, _, end = original.commits[_random(len(original.commits))]
            content[begin : begin + end - other] = content[other:end]
            continue
        if _random(8):
            crc = crc32(content[begin:crc_at]) ^ 0xFFFFFFFF
            content[crc_at : crc_at + 4] = crc.to_bytes(4, "little")
    if _random(20) == 0:
        content[24 + _random(8)] = _random(256)  # the size of a block, or how many there are
    if _random(30) == 0:
        content = content[: _random(len(content))]
    return content


def _open_littlefs(content):
    head = memoryview(content)[:512]
    if not littlefs.is_head(head):
        raise OTAError(37)  # the Updater takes it for something else
    image = littlefs.LittleFS(BytesIO(content), head)
    if image.end > len(content):
        raise OTAError(37)
    return image


class _Refused:
    # An image that is refused before anything of it is looked at.
    def __init__(self, error):
        self._error = error

    def entries(self):
        raise self._error

    def close(self):
        pass


def test_whatever_is_changed_in_a_littlefs_it_is_unpacked_or_refused():
    originals = []
    for name in _VECTORS:
        with open("/vectors/littlefs/" + name, "rb") as f:
            originals.append(_Original(f.read(), int(name.split("-")[1])))

    def make():
        content = _mutated(originals[_random(len(originals))])
        try:
            return _open_littlefs(content), len(content)
        except OTAError as e:
            return _Refused(e), len(content)

    _run("littlefs images", _LITTLEFS, make)
