"""Unpacking a gzip: any that zlib makes, in pieces of any size; everything else is refused."""

import gc
import os
from binascii import hexlify

from flash_stubs import Watched
from ota import hal
from ota.errors import OTAError
from ota.md5 import md5
from ota.record import load
from ota.updater import inflate
from sample_image import (
    LIMIT_BYTES,
    SLOTS,
    code_of,
    error_of,
    image,
    marks_of,
)
from uhashlib import sha256
from updates import is_on_trial, is_unharmed, new_updater, prepare_board, send

_FOLDER = "/vectors/gzip/"
_RING = 1024


class _Sink:
    # The part of an Updater that an Unpacker needs; the slot is in memory.
    expected_sha256 = signature = md5_state = None
    stored = filled = 0

    def __init__(self):
        self.pages = memoryview(bytearray(_RING))
        self.slot = bytearray(131072)

    def read_stored(self, at, view):
        assert at % 4 == 0 and len(view) % 4 == 0
        view[:] = self.slot[at : at + len(view)]

    def gather(self, data):
        for byte in data:
            self.pages[self.filled] = byte
            self.filled += 1
            if self.filled == _RING:
                self.flush()

    def flush(self):
        self.slot[self.stored : self.stored + self.filled] = self.pages[: self.filled]
        self.stored += self.filled
        self.filled = 0

    def content(self):
        if self.filled:
            self.flush()
        return self.slot[: self.stored]


def _read(name):
    with open(_FOLDER + name, "rb") as f:
        return f.read()


def _names(first=""):
    # Of all gzips but the signed ones.
    names = [n for n in os.listdir(_FOLDER[:-1]) if n.endswith(".gz")]
    return [n for n in names if n.startswith(first) and not n.startswith("signed")]


def _end(unpacker):
    for _ in unpacker.ending():
        pass


def _unpack(data, chunk=1460):
    # Returns what comes out of *data*, and what stands behind it.
    sink = _Sink()
    unpacker = inflate.Unpacker(sink)
    for at in range(0, len(data), chunk):
        for _ in unpacker.writing(data[at : at + chunk]):
            assert sink.filled < _RING
    _end(unpacker)
    return sink.content(), bytes(unpacker.trailer)


# Whatever zlib makes


def test_every_level_window_and_strategy_is_unpacked():
    assert len(_names("small.")) > 70 and len(_names()) > 120
    for name in _names():
        assert _unpack(_read(name)) == (_read(name.split(".")[0]), b""), name


def test_the_chip_s_own_decoder_unpacks_what_mpota_makes_and_nothing_else():
    for name in ("small.ours.gz", "short.ours.gz", "small.9-10-0.gz", "short.fields-4.gz"):
        sink = _Sink()
        unpacker = inflate.Unpacker(sink)
        for _ in unpacker.writing(_read(name)):
            pass
        assert unpacker._is_ours == ("ours" in name)


def test_it_may_be_cut_into_pieces_at_any_byte():
    for name in (
        "short.fields-30.gz",
        "small.mixed.gz",
        "small.1-9-0.gz",
        "noise.0-15-0.gz",
        "short.ours.gz",
    ):
        data = _read(name)
        content = _read(name.split(".")[0])
        for chunk in (1, 2, 3, 5, 7, 127, 128, 129, 1459):
            assert _unpack(data, chunk)[0] == content, (name, chunk)
    data = _read("short.9-15-0.gz")
    for at in range(1, len(data)):
        sink = _Sink()
        unpacker = inflate.Unpacker(sink)
        for part in (data[:at], b"", memoryview(data)[at:]):
            for _ in unpacker.writing(part):
                pass
        _end(unpacker)
        assert sink.content() == _read("short")


def test_no_step_unpacks_more_than_a_piece():
    # zeros: 1000 bytes for each that is sent
    for name in ("large.9-15-0.gz", "large.0-15-0.gz", "large.ours.gz"):
        sink = _Sink()
        unpacker = inflate.Unpacker(sink)
        before = 0
        for _ in unpacker.writing(_read(name)):
            done = unpacker._size
            assert done - before < 128 + 258, (name, done - before)
            before = done
        _end(unpacker)


def _most_heap(sink, data):
    # What is allocated while *data* is unpacked, at most, but for the chunk, which is this test's.
    # A collection of this large heap takes long: there is one in a few steps.
    most = step = 0
    unpacker = inflate.Unpacker(sink)
    chunk = memoryview(data)
    for at in range(0, len(data), 1460):
        for _ in unpacker.writing(chunk[at : at + 1460]):
            step += 1
            if step % 7 == 0:
                gc.collect()
                most = max(most, gc.mem_alloc())
    _end(unpacker)
    return most


def test_it_needs_no_more_than_2_5_kb_of_heap_and_gives_it_back():
    # 3.2 KB here are 2.2 KB where a word has 32 bits.
    for name, limit in (("large.9-15-0.gz", 3500), ("large.ours.gz", 5600)):
        data = _read(name)
        sink = _Sink()
        for _ in range(2):  # the first time, for the names
            gc.collect()
            before = gc.mem_alloc()
            used = _most_heap(sink, data) - before
            sink.stored = sink.filled = 0
        gc.collect()
        left = gc.mem_alloc() - before
        print("figure heap for %s, of the 64-bit interpreter's: %d bytes" % (name, used))
        assert used <= limit and left < 100, (used, left)


# What is refused


def test_a_header_that_is_not_as_it_should_be_is_error_37():
    good = _read("short.9-15-0.gz")
    for at, value in ((0, 0x1E), (1, 0x8C), (2, 7), (3, 0x20), (3, 0x40), (3, 0x80)):
        data = bytearray(good)
        data[at] = value
        assert code_of(_unpack, data) == 37, at


def test_the_crc_of_the_header_is_checked_where_there_is_one():
    for flags in (2, 3, 6, 10, 18, 31):  # FHCRC and others
        good = _read("short.fields-%d.gz" % flags)
        size = len(good) - len(_read("short.fields-0.gz")) + 10
        ats = list(range(4, 10)) + [size - 2, size - 1]
        if flags & 4:
            ats += [12, 500]
        for at in ats:
            data = bytearray(good)
            data[at] ^= 1
            assert code_of(_unpack, data) == 37, (flags, at)


def test_one_that_is_cut_off_anywhere_is_error_37():
    for name in ("short.fields-30.gz", "short.0-15-0.gz", "one.9-15-0.gz", "short.ours.gz"):
        data = _read(name)
        for size in range(1, len(data)):
            assert code_of(_unpack, data[:size]) == 37, (name, size)


def test_a_crc_and_a_length_that_differ_are_error_37():
    for name in ("small.6-15-0.gz", "small.ours.gz"):
        data = _read(name)
        for at in range(len(data) - 8, len(data)):
            for bit in (1, 128):
                bad = bytearray(data)
                bad[at] ^= bit
                assert code_of(_unpack, bad) == 37, (name, at)


def test_what_stands_behind_it_is_kept_up_to_the_length_of_a_signature():
    for name in ("short.9-15-0.gz", "short.ours.gz"):
        data = _read(name)
        for more in (b"x", bytes(260), b"y" * 516):
            for chunk in (1, 100, 1460):
                assert _unpack(data + more, chunk) == (_read("short"), more)
        assert code_of(_unpack, data + bytes(517)) == 37


def test_nothing_is_copied_from_before_the_beginning():
    # All else is right.
    assert code_of(_unpack, _read("astray")) == 37


def test_codes_that_cannot_be_are_error_37():
    for bits in (
        "1 11",  # a block of a kind that there is not
        "1 00 00000 0000000000000000 0000000000000000",  # a length without its complement
        "1 10 1110110 0000000",  # the fixed code of length symbol 286 … of a copy from nowhere
        "1 10 0000001 00000",  # a distance beyond the beginning
        "1 10 00110000 0000001 11110",  # distance symbol 30
        "1 01 00000 00000 0000 100 100 100 100",  # three codes of one bit
        "1 01 00000 00000 1000 000 000 100 100 000 000 000 000 000 000 000 000 0",  # no end
    ):
        bits = bits.replace(" ", "")
        bits += "0" * (-len(bits) % 8)
        data = bytearray(b"\x1f\x8b\x08\0\0\0\0\0\0\0")
        for at in range(0, len(bits), 8):
            data.append(int("".join(reversed(list(bits[at : at + 8]))), 2))
        assert code_of(_unpack, data) == 37, bits


# Updates


def _clean(**fields):
    # A board that runs slot a, with a version before it in slot b; returns an Updater.
    inflate.hal = hal
    prepare_board(**fields)
    return new_updater()


def test_a_gzip_of_an_image_lies_unpacked_in_the_slot_and_is_tried():
    for name in ("large.9-15-0.gz", "small.1-15-0.gz", "small.0-15-0.gz", "large.ours.gz"):
        u = _clean()
        content = _read(name.split(".")[0])
        data = _read(name)
        send(u, data)
        assert is_on_trial(content), name
        assert (u.progress, u.stored, u.unpacker) == (len(data), len(content), None)


def test_whole_pages_are_programmed_once_each_and_sectors_erased_before():
    u = _clean()
    data = _read("large.9-15-0.gz")
    size = len(_read("large"))
    with Watched() as flash:
        send(u, data)
    at = SLOTS["b"]
    for _, offset, count in flash.of("program")[1:-1]:
        assert offset == at and count % 256 == 0
        at += count
    assert at - SLOTS["b"] == size + 255 & ~255
    # Each sector that the image takes, and that of the marks.
    assert len(flash.of("erase")) == (size + 4095) // 4096 + 1


def test_of_a_gzip_nothing_can_be_resumed():
    u = _clean()
    u.begin(len(_read("large.9-15-0.gz")))
    u.write(_read("large.9-15-0.gz")[:9000])
    assert u.stored > 4096 and u.programmed == 0
    u.abort(6)


def test_the_digests_are_those_of_what_was_sent():
    data = _read("small.9-15-0.gz")
    content = _read("small")
    for make in (lambda d: ("md5", md5(d).digest()), lambda d: ("sha256", sha256(d).digest())):
        for announced, code in ((data, None), (content, {"md5": 7, "sha256": 42})):
            u = _clean()
            name, digest = make(announced)
            getattr(u, "set_" + name)(hexlify(digest).decode())
            assert code_of(send, u, data) == (code and code[name])
            assert (load().trial == "b") == (code is None)
    u = _clean()
    u.set_sha256(hexlify(sha256(content).digest()).decode())
    assert error_of(send, u, data).endswith("SHA-256 is not the announced one: on the way")


def test_the_record_has_size_and_md5_of_what_was_sent_where_an_md5_was_announced():
    data, content = _read("small.9-15-0.gz"), _read("small")
    digest = md5(data).digest()
    u = _clean()
    u.set_md5(hexlify(digest).decode())
    send(u, data)
    assert load().received["b"] == (7, len(data), digest)
    u = _clean()
    send(u, data)
    assert load().received["b"] == (7, len(content), bytes(16))


def test_a_head_that_shows_that_it_will_be_refused_costs_the_idle_slot_nothing():
    for name, fields, code in (
        ("noise.9-15-0.gz", {}, 10),
        ("short.9-15-0.gz", {}, 10),
        ("large.9-15-0.gz", {"floor": 8}, 36),
        ("small.9-15-0.gz", {"rejected": 7}, 35),
    ):
        u = _clean(**fields)
        with Watched() as flash:
            assert code_of(send, u, _read(name)) == code, name
            assert not flash.of("program", "erase")
        assert is_unharmed() and load().trial is None


def test_what_is_larger_than_a_slot_when_it_is_unpacked_is_error_4():
    # Only stored blocks can be made here.
    head = image(7, (("data", bytes(LIMIT_BYTES + 5000)),))
    data = b"\x1f\x8b\x08\0\0\0\0\0\0\0"
    for at in range(0, len(head), 60000):
        part = head[at : at + 60000]
        size = len(part)
        data += bytes([0, size & 255, size >> 8, ~size & 255, ~size >> 8 & 255]) + part
    u = _clean()
    u.begin(LIMIT_BYTES)
    u.remaining = len(data)  # it is larger than what may be announced

    def send_all():
        for at in range(0, len(data), 1460):
            u.write(data[at : at + 1460])
        u.end()

    text = error_of(send_all)
    assert text.startswith("ERROR[4]: Not Enough Space: image of 102400 bytes, a slot takes"), text
    assert marks_of("b") == b"\xff" * 8 and load().trial is None


def test_an_end_before_the_gzip_s_own_is_error_37():
    data = _read("small.9-15-0.gz")
    u = _clean()
    u.begin(len(data))
    u.write(data[:-1])
    try:
        u.end(even_if_remaining=True)
        raise AssertionError
    except OTAError as e:
        assert e.code == 37


def test_several_members_are_error_37():
    data = _read("small.9-15-0.gz")
    u = _clean()
    assert code_of(send, u, data + data) == 37
    u = _clean()
    assert "are no signature" in error_of(send, u, data + _read("one.9-15-0.gz"))
    assert load().trial is None


def test_too_little_memory_to_unpack_is_told_in_words_and_costs_nothing():
    class Full:
        def __init__(self, updater):
            raise MemoryError

    u = _clean()
    real, inflate.Unpacker = inflate.Unpacker, Full
    try:
        assert "send it unpacked" in error_of(send, u, _read("small.9-15-0.gz"))
    finally:
        inflate.Unpacker = real
    assert u.error == 14 and is_unharmed()


# Signatures: over what is sent, or over what comes out


def _keys(u):
    with open("/vectors/gzip/public.pem", "rb") as f:
        u.keys = f.read()
    return u


def test_a_signature_over_the_gzip_or_over_the_image_in_it_is_good_and_nothing_else():
    signed_gzip = _read("signed.outer.gz")
    for chunk in (1, 97, 1460):
        for name in ("signed.outer.gz", "signed.ours-outer.gz"):
            u = _keys(_clean())
            send(u, _read(name), chunk=chunk)
            assert is_on_trial(_read("small"))
        for name in ("signed.gz", "signed.ours.gz"):
            u = _keys(_clean())
            send(u, _read(name), chunk=chunk)
            assert is_on_trial(_read("signed"))
    for data in (
        _read("small.9-15-0.gz"),
        signed_gzip[:-1],
        signed_gzip[:-200] + b"!" + signed_gzip[-199:],
        _read("signed.gz")[:-260] + signed_gzip[-260:],
        _read("small.8-15-0.gz") + signed_gzip[-260:],
        _read("signed.other.gz"),
        _read("signed.ours-other.gz"),
        _read("small.ours.gz"),
        _read("small.ours.gz") + signed_gzip[-260:],
    ):
        u = _keys(_clean())
        assert code_of(send, u, data) in (12, 37)
        assert marks_of("b") == b"\xff" * 8 and load().trial is None


def test_a_board_without_keys_takes_both():
    for name, content in (("signed.outer.gz", "small"), ("signed.gz", "signed")):
        u = _clean()
        send(u, _read(name))
        assert is_on_trial(_read(content))
