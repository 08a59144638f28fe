"""Deltas: the new image is made of the delta and of the slot that runs, or the delta is refused."""

import gc
from binascii import hexlify

from flash_stubs import Watched
from ota import slots
from ota.md5 import md5
from ota.record import load
from ota.updater.delta import Patcher
from sample_image import (
    LIMIT_BYTES,
    SLOTS,
    clear_slot,
    code_of,
    error_of,
    fill_slot,
    marks_of,
    uint,
)
from uhashlib import sha256
from updates import is_on_trial, is_unharmed, new_updater, prepare_board, send

_HEAD_BYTES = 72


def _read(name):
    with open("/vectors/gzip/" + name, "rb") as f:
        return f.read()


def _clean(active="a"):
    # A board that runs the image `old`; returns an Updater.
    prepare_board(active)
    fill_slot(active, _read("old"))
    return new_updater()


def test_a_delta_becomes_the_whole_image_in_the_idle_slot():
    for active, idle in (("a", "b"), ("b", "a")):
        for name in ("new", "newer"):
            for chunk in (1, 100, 1460):
                u = _clean(active)
                data = _read(name + ".delta")
                assert len(data) < 600
                send(u, data, chunk=chunk)
                assert is_on_trial(_read(name), idle), name
                assert (u.progress, u.stored) == (len(data), len(_read(name)))


def test_each_step_copies_a_piece_at_most():
    u = _clean()
    data = _read("new.delta")
    u.begin(len(data))
    before = steps = 0
    for source in (u.writing(data), u.ending()):
        for _ in source:
            steps += 1
            done = u.stored + u.filled
            assert done - before <= 512
            before = done
    assert steps > len(_read("new")) // 512 and is_on_trial(_read("new"))


def test_for_another_version_it_is_error_45_and_costs_nothing():
    u = _clean()
    with Watched() as flash:
        assert code_of(send, u, _read("other.delta")) == 45
        assert not flash.of("program", "erase")
    assert is_unharmed() and load().trial is None
    # So it is where nothing runs.
    u = _clean()
    clear_slot("a")
    assert code_of(send, u, _read("new.delta")) == 45
    assert is_unharmed()


def test_a_base_that_is_not_what_its_footer_says_is_found_out():
    u = _clean()
    spoiled = bytearray(_read("old"))
    spoiled[2000] ^= 1
    clear_slot("a")
    fill_slot("a", bytes(spoiled))
    assert code_of(send, u, _read("new.delta")) == 37
    assert marks_of("b") == b"\xff" * 8 and load().trial is None


def test_an_image_that_is_not_the_announced_one_is_error_37():
    u = _clean()
    assert code_of(send, u, _read("lying.delta")) == 37
    assert marks_of("b") == b"\xff" * 8 and load().trial is None


def test_only_the_gzip_that_mpota_makes_brings_a_delta():
    for name in ("new.foreign", "new.plain"):
        u = _clean()
        assert code_of(send, u, _read(name)) == 10, name
        assert is_unharmed()


def test_policy_is_asked_with_the_head_of_what_comes_out():
    u = _clean()
    r = load()
    r.rejected = 8
    r.store()
    with Watched() as flash:
        assert code_of(send, u, _read("new.delta")) == 35
        assert not flash.of("program", "erase")
    assert is_unharmed()


def test_the_digests_are_those_of_what_was_sent_and_the_record_is_of_what_came_out():
    data = _read("new.delta")
    for digest, code in ((md5(data).digest(), None), (md5(_read("new")).digest(), 7)):
        u = _clean()
        u.set_md5(hexlify(digest).decode())
        assert code_of(send, u, data) == code
    u = _clean()
    u.set_sha256(hexlify(sha256(data).digest()).decode())
    send(u, data)
    assert load().received["b"] == (8, len(_read("new")), bytes(16))


def test_a_board_with_keys_wants_the_image_signed_or_the_delta():
    for name, content, code in (
        ("newer.delta", "newer", None),
        ("signed.delta", "new", None),
        ("new.delta", "new", 12),
    ):
        u = _clean()
        u.keys = _read("public.pem")
        assert code_of(send, u, _read(name)) == code, name
        assert code or is_on_trial(_read(content))
        assert (load().trial == "b") == (code is None)


# Deltas by hand


class _Sink:
    # What a Patcher needs of an Updater.
    slot = "b"
    filled = 0

    def __init__(self):
        self.content = bytearray()

    def gather(self, data):
        self.content.extend(data)
        assert len(self.content) <= LIMIT_BYTES


def _head(size, base=None):
    base = slots.digest_of("a") if base is None else base
    return b"MPD1" + base + size.to_bytes(4, "little") + bytes(32)


def _patched(parts, size, chunk=64):
    # Returns what comes of *parts*, and whether it is complete.
    sink = _Sink()
    patcher = Patcher(sink)
    data = _head(size) + parts
    for at in range(0, len(data), chunk):
        for _ in patcher.feeding(data[at : at + chunk]):
            pass
    return bytes(sink.content), patcher._is_complete


def test_copies_go_forth_and_back_and_literal_bytes_stand_between():
    _clean()
    old = _read("old")
    parts = uint(20 << 1 | 1) + uint(100 << 1)  # 20 bytes from 100 on
    parts += uint(3 << 1) + b"new"
    parts += uint(5 << 1 | 1) + uint((110 << 1) - 1)  # 5 bytes from 120 - 110 on
    parts += uint(1000 << 1 | 1) + uint(0)  # and 1000 more
    content = old[100:120] + b"new" + old[10:1015]
    for chunk in (1, 7, 64, 1024):
        assert _patched(parts, len(content), chunk) == (content, True)
        assert _patched(parts[:-2], len(content), chunk)[1] is False


def test_a_part_that_cannot_be_is_error_37():
    _clean()
    for parts in (
        uint(0),  # no bytes
        uint(1),
        uint(21 << 1) + bytes(21),  # more than the result has
        uint(5 << 1 | 1) + uint(1),  # before the base
        uint(5 << 1 | 1) + uint(LIMIT_BYTES << 1),  # behind it
        b"\xff" * 4 + b"\x02",  # a number of more than 28 bits
        uint(20 << 1) + bytes(20) + b"more",
    ):
        for chunk in (1, 64):
            assert code_of(_patched, parts, 20, chunk) == 37, parts


def test_a_result_that_no_slot_takes_is_error_4():
    _clean()
    assert error_of(_patched, b"", LIMIT_BYTES + 1).startswith("ERROR[4]")


def test_it_needs_little_heap():
    _clean()
    gc.collect()
    before = gc.mem_alloc()
    patcher = Patcher(_Sink())
    gc.collect()
    assert gc.mem_alloc() - before < 1000
    assert patcher
    assert SLOTS["a"]
