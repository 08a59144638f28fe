"""The checks of an image: of its head, and of all of it in the slot, before it is accepted."""

import os
from binascii import hexlify

import sample_image
from flash_stubs import Watched, fails
from ota import hal, log, record, slots
from ota.md5 import md5
from ota.updater import verify
from sample_image import (
    DATA,
    FILE,
    FOLDER,
    FOOTER_BYTES,
    LIMIT_BYTES,
    PADDING,
    POINTER,
    SLOT_BYTES,
    SLOTS,
    clear_slot,
    code_of,
    error_of,
    file,
    fill_slot,
    folder,
    image,
    image_of,
    manifest,
    marks_of,
    romfs,
    runs,
    uint,
    with_footer,
)
from uhashlib import sha256

_FLOOR = 5000000
_JUMP = 1000000
_UNMARKED = b"\xff" * 8
_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


class Ota:
    """The part of `ota.OTA` that a verification uses."""

    def __init__(self, settings):
        self.settings = settings


class Update:
    """An ota.updater.Updater that has written all of its bytes, *data*, to slot b."""

    slot = "b"
    expected_md5 = expected_sha256 = md5_state = signature = trusted = unpacker = None

    def __init__(self, data, **settings):
        fill_slot("b", data, accepted=False)
        self.ota = Ota(settings)
        self.app = settings.get("app") or verify.app_of(record.load_for_update().active)
        self.progress = self.stored = len(data)
        block = memoryview(bytearray(3000))
        self.buffer = block[:1460]
        self.pages = block[1460 : 1460 + 1024]

    def read_stored(self, at, view):
        hal.flash_read(slots.start("b") + at, view)


def _board(running=b"sample", **fields):
    # A board with an application *running* in slot a, or none, and a record with *fields*.
    clear_slot("a")
    if running is not None:
        fill_slot("a", image(_FLOOR, name=running))
    r = record.Record()
    r.active, r.floor = "a", 3
    for name in fields:
        setattr(r, name, fields[name])
    r.store()


def _run(update):
    for _ in verify.verify(update):
        pass


def _is_untouched(before):
    # Nothing is accepted, and the record is as it was.
    after = record.load()
    assert marks_of("b") == _UNMARKED
    assert after.__dict__ == before.__dict__
    return True


def _code(data, **settings):
    # The number of the error that *data* ends in; None: it is accepted.
    before = record.load()
    code = code_of(_run, Update(data, **settings))
    assert code is None or _is_untouched(before)
    return code


# An image that is good


def test_a_good_image_is_accepted_and_put_on_trial():
    for size in (1024, 4096, 4100, LIMIT_BYTES):
        _board(floor=3, rejected=2)
        generation = record.load().generation
        data = image_of(size)
        assert _code(data) is None
        assert marks_of("b") == b"ACPT" + b"\xff" * 4
        r = record.load()
        assert (r.active, r.trial, r.attempts, r.floor, r.rejected) == ("a", "b", 0, 3, 2)
        assert r.received["b"] == (7, size, bytes(16))
        assert r.generation == generation + 1


def test_the_md5_of_what_was_received_is_recorded():
    _board()
    data = image()
    update = Update(data)
    digest = md5()
    digest.update(data)
    digest = digest.digest()
    update.expected_md5 = hexlify(digest).decode()
    _run(update)
    assert record.load().received["b"] == (7, len(data), digest)


def test_first_all_is_read_then_it_is_accepted_then_recorded():
    _board()
    data = image_of(20000)
    update = Update(data)
    stored = []
    store = record.Record.store

    def note(self):
        stored.append(marks_of("b"))
        store(self)

    record.Record.store = note
    try:
        with Watched() as flash:
            _run(update)
    finally:
        record.Record.store = store
    assert stored == [b"ACPT" + b"\xff" * 4]
    changes = flash.of("program", "erase")
    assert changes == [("program", SLOTS["b"] + SLOT_BYTES - 8, 4)]
    # Every byte of the image was read before that.
    seen = bytearray(SLOT_BYTES)
    for action, offset, count in flash.done[: flash.done.index(changes[0])]:
        at = offset - SLOTS["b"]
        if action == "read" and at >= 0:
            seen[at : at + count] = b"\1" * count
    assert min(seen[: len(data)]) == 1


def test_there_is_a_step_after_every_block():
    _board()
    update = Update(image_of(20000))
    steps = 0
    for _ in verify.verify(update):
        assert marks_of("b") == _UNMARKED
        steps += 1
    assert steps >= 20000 // 1024


# What was received is what was announced


def test_another_md5_is_error_7_with_both():
    _board()
    before = record.load()
    data = image()
    right = md5()
    right.update(data)
    right = hexlify(right.digest()).decode()
    update = Update(data)
    update.expected_md5, update.md5_state = "0" * 32, md5()
    assert error_of(_run, update) == (
        "ERROR[7]: MD5 verification failed: expected: %s, calculated: %s" % ("0" * 32, right)
    )
    assert _is_untouched(before)


def test_another_sha256_is_error_42():
    _board()
    before = record.load()
    data = image() + bytes(128) + (128).to_bytes(4, "little")
    for digest, code in ((sha256(data).digest(), None), (sha256(data[:-1]).digest(), 42)):
        update = Update(data)
        update.expected_sha256 = hexlify(digest).decode()
        assert code_of(_run, update) == code
        assert code is None or _is_untouched(before)
        before = record.load()


def test_an_image_that_is_not_whole_is_error_37():
    _board()
    data = image()
    good = romfs(file("MANIFEST", manifest()))
    for spoilt in (
        data[:-4],
        data[:-40],
        data[:100],
        data[:4],
        with_footer(good, magic=b"MPOG"),
        with_footer(good, length=len(good) - 4),
        with_footer(good, length=len(good) + 4),
        with_footer(good, digest=bytes(32)),
        b"\xd2\xcd\x31" + uint(0xFFFFFFF) + data[5:],
    ):
        assert _code(spoilt) == 37, len(spoilt)


def test_a_bit_flipped_anywhere_is_found_by_the_image_s_own_digest():
    _board()
    data = image()
    for at in range(0, len(data), 31):
        spoilt = bytearray(data)
        spoilt[at] ^= 1 << at % 8
        assert _code(bytes(spoilt)) in (37, 38), at


def test_what_does_not_read_back_as_it_was_received_is_refused():
    # The announced digests are right, and so is what was sent.
    data = image()
    digest = md5()
    digest.update(data)
    md5_hex, sha256_hex = hexlify(digest.digest()).decode(), hexlify(sha256(data).digest()).decode()
    for wanted, code in (("expected_md5", 7), ("expected_sha256", 42)):
        for at in (5, 1000, len(data) - FOOTER_BYTES - 5, len(data) - 1):
            _board()
            before = record.load()
            update = Update(data)
            if wanted == "expected_md5":
                update.md5_state = md5()
            setattr(update, wanted, md5_hex if wanted == "expected_md5" else sha256_hex)

            def spoil(offset, buffer, at=at):
                i = SLOTS["b"] + at - offset
                if 0 <= i < len(buffer) and len(buffer) > 16:
                    buffer[i] ^= 0x10

            with Watched() as flash:
                flash.spoil = spoil
                assert code_of(_run, update) == code, (wanted, at)
            assert _is_untouched(before)


def test_behind_an_image_nothing_may_stand_but_a_trailer_of_its_own_length():
    _board()
    data = image()
    for behind, code in (
        (b"", None),
        (bytes(256) + (256).to_bytes(4, "little"), None),
        (bytes(255) + (256).to_bytes(4, "little"), 37),
        (b"\0", 37),
        (b"x" * 100, 37),
        (bytes(512) + (512).to_bytes(4, "little"), None),
        (bytes(513) + (513).to_bytes(4, "little"), 37),
        (data, 37),
    ):
        assert _code(data + behind) == code, len(behind)
    assert record.load().received["b"][1] == len(data) + 516


# Signed


class Signature:
    """Replaces `ota.updater.signature`: it accepts every signature, or none."""

    def __init__(self, update, good=True):
        self._update = update
        self._good = good
        self.seen = None

    def verify(self, digest, signature, legacy, keys):
        from ota.errors import OTAError

        # The block is free for the arithmetic.
        assert self._update.buffer is None and self._update.pages is None
        self.seen = digest, signature, legacy, keys
        if not self._good:
            raise OTAError(12)


def _signed(data, good=True, **settings):
    _board()
    update = Update(data, **settings)
    update.trusted = "the keys"
    update.signature = Signature(update, good)
    before = record.load()
    code = code_of(_run, update)
    assert code is None or _is_untouched(before)
    return code, update.signature.seen


def test_what_is_signed_is_romfs_and_footer_as_they_are_in_flash():
    data = image()
    signature = bytes(range(256))
    trailer = signature + (256).to_bytes(4, "little")
    digest = sha256(data).digest()
    assert _signed(data + trailer) == (None, (digest, signature, None, "the keys"))
    assert _signed(data + trailer, legacy_signatures=True)[1][2] is True


def test_nothing_is_accepted_before_its_signature():
    data = image() + bytes(256) + (256).to_bytes(4, "little")
    assert _signed(data, good=False)[0] == 12
    # Policy is asked after that: who did not sign the image learns nothing of it.
    for spoilt in (image(1), image(name=b"other"), image(text=b"mpota 1\n")):
        assert _signed(spoilt + data[-260:], good=False)[0] == 12


def test_an_image_without_a_signature_is_refused_before_any_arithmetic():
    for trailer in (b"", b"\0" * 4, bytes(127) + b"\x7f\0\0\0", bytes(256) + b"\0\2\0\0"):
        assert _signed(image() + trailer) == (12, None), len(trailer)


def test_a_digest_that_differs_ends_it_before_the_signature():
    data = image() + bytes(256) + (256).to_bytes(4, "little")
    _board()
    update = Update(data)
    update.signature = Signature(update)
    update.expected_sha256 = "0" * 64
    assert code_of(_run, update) == 42 and update.signature.seen is None


# Policy


def _verdict(data, **settings):
    # The head says the same before the first erase as all of the image does at its end.
    code = _code(data, **settings)
    head = memoryview(bytearray(data[:1536]))
    if code is None:
        # It is as if it had not come.
        r = record.load()
        r.trial = None
        r.store()
    assert code_of(verify.refuse_by_head, head, Update(data, **settings)) == code
    return code


def test_the_floor():
    for sequence, code in ((1, 36), (_FLOOR - 1, 36), (_FLOOR, None), (_FLOOR + 1, None)):
        _board(floor=_FLOOR)
        assert _verdict(image(sequence)) == code, sequence


def test_the_release_that_was_taken_back():
    for sequence, code in ((_FLOOR + 6, None), (_FLOOR + 7, 35), (_FLOOR + 8, None)):
        _board(floor=_FLOOR, rejected=_FLOOR + 7)
        assert _verdict(image(sequence)) == code, sequence


def test_a_jump():
    for jump, code in ((_JUMP, None), (_JUMP + 1, 43), (0x3FFFFFFF - _FLOOR, 43)):
        _board(floor=_FLOOR)
        assert _verdict(image(_FLOOR + jump)) == code, jump


def test_without_a_floor_any_sequence_is_taken():
    _board(floor=0)
    assert _verdict(image(0x3FFFFFFF)) is None


def test_a_board_without_a_record_takes_any_release_where_no_application_runs():
    _board()
    os.remove("/.ota/record")
    runs(None)
    update = Update(image(0x3FFFFFFF))
    update.slot = "b"
    _run(update)
    assert (record.load().active, record.load().trial) == (None, "b")
    os.remove("/.ota/record")
    update = Update(image())
    runs("a")
    try:
        assert code_of(_run, update) == 3
    finally:
        runs(None)


def test_going_back_takes_the_image_and_the_board():
    for line, allowed, code in (
        (b"", False, 36),
        (b"downgrade yes\n", False, 36),
        (b"", True, 36),
        (b"downgrade yes\n", True, None),
        (b"downgrade no\n", True, 36),
        (b"downgrade YES\n", True, 36),
    ):
        _board(floor=_FLOOR)
        back = image(_FLOOR - 1, more=line)
        assert _verdict(back, allow_downgrade=allowed) == code, (line, allowed)
        assert allowed or _verdict(back) == 36


def test_going_back_allows_nothing_else():
    yes = b"downgrade yes\n"
    _board(floor=_FLOOR, rejected=3)
    for data, code in (
        (image(3, more=yes), 35),
        (image(_FLOOR + _JUMP + 1, more=yes), 43),
        (image(2, text=manifest(2, yes).replace(b"esp8266", b"esp32")), 41),
        (image(2, more=yes, name=b"other"), 44),
    ):
        assert _verdict(data, allow_downgrade=True) == code


def test_the_application_is_that_of_the_active_slot():
    for name, code in ((b"Garden", 44), (b"garden2", 44), (b"gard", 44), (b"garden", None)):
        _board(b"garden")
        assert _verdict(image(name=name)) == code, name


def test_the_application_can_be_a_setting():
    for app, name, code in (
        ("*", b"other", None),
        ("*", b"garden", None),
        ("other", b"other", None),
        ("other", b"garden", 44),
        (None, b"other", 44),
    ):
        _board(b"garden")
        assert _verdict(image(name=name), app=app) == code, (app, name)


def test_a_board_without_an_application_takes_any():
    for running, active in ((None, "a"), (b"garden", None)):
        _board(running, active=active)
        assert _verdict(image(name=b"other")) is None
    _board()
    fill_slot("a", b"\xd2\xcd\x31 no MANIFEST")
    assert _verdict(image(name=b"other")) is None


def test_flash_that_does_not_answer_lets_no_other_application_in():
    _board(b"garden")
    assert verify.app_of("a") == "garden" and verify.app_of(None) is None
    with Watched() as flash:
        flash.before = fails
        try:
            verify.app_of("a")
            raise AssertionError("no OSError")
        except OSError:
            pass


def test_the_board_and_the_version_of_bytecode():
    for old, new, code in (
        (b"board esp8266\n", b"", None),
        (b"board esp8266", b"board esp32", 41),
        (b"board esp8266", b"board ESP8266", 41),
        (b"mpy 6.3\n", b"", None),
        (b"mpy 6.3", b"mpy 6", 41),
        (b"mpy 6.3", b"mpy 6.2", 41),
        (b"mpy 6.3", b"mpy 6.30", 41),
        (b"mpy 6.3", b"mpy 7.3", 41),
    ):
        _board()
        assert _verdict(image(text=manifest().replace(old, new))) == code, new


def test_a_broken_manifest_is_error_38():
    for text in (b"", b"mpota 1\n", manifest()[:-1], manifest() + b"name x\n"):
        _board()
        assert _verdict(image(text=text)) == 38, text


def test_manifest_must_be_the_very_first_file():
    for records in (
        (file("app.mpy", b"x"), file("MANIFEST", manifest())),
        (sample_image.record(PADDING, b""), file("MANIFEST", manifest())),
        (folder("lib", file("MANIFEST", manifest())),),
        (),
    ):
        _board()
        assert _verdict(with_footer(romfs(*records))) == 38


# What a file seems to be, by its first bytes


def test_what_is_no_application_image_is_error_10_and_told_what_it_seems_to_be():
    tar = bytearray(1536)
    tar[:8] = b"MANIFEST"
    tar[257:263] = b"ustar\0"
    for data, words in (
        (
            b"\xe9\x01\x02\x40\x80\xf4\x10\x40" + bytes(1000),
            "an Arduino sketch; this board runs what",
        ),
        (b"\xe9\x03\x02\x40\x08\x00\x10\x40" + bytes(1000), "firmware; without a boot loader"),
        (b"\xe9\x05\x02\x20\x5c\x12\x08\x40" + bytes(1000), "for an ESP32; send what"),
        (b"\xe9", "for an ESP32"),
        (tar, "a tar; data are sent by 'mpota upload -s'"),
        (b"\0" * 8 + b"littlefs" + bytes(500), "a littlefs; data are sent by 'mpota upload -s'"),
        (b"<!doctype html>\n<p>Please log in" + bytes(9), "a text; send what 'mpota pack' makes"),
        (b"<!DOCTYPE html>" + bytes(100), "send what 'mpota pack' makes"),
        (b"\xd2", "send what"),
        (b"\xd2\xcd\x31", "send what"),
        (b"\xd2\xcd\x30\x05", "send what"),
        (b"\xff" * 1536, "send what"),
    ):
        head = memoryview(bytearray(data))
        text = error_of(verify.refuse_by_head, head, None)
        assert text.startswith("ERROR[10]: Not an application image: ") and words in text, text


# The walk over the records


def _structure(*records, first=True):
    # Whether an image of *records*, whose digest is right, is refused: its number, or None.
    start = (file("MANIFEST", manifest()),) if first else ()
    _board()
    return _code(with_footer(romfs(*(start + records))))


def _nested(depth):
    inner = file("x", b"y")
    for _ in range(depth):
        inner = folder("d", inner)
    return inner


def test_what_mpremote_makes_is_taken():
    padding = sample_image.record(PADDING, b"\0\0\0")
    inside = sample_image.record(FILE, b"\1x" + padding + sample_image.record(DATA, b"content"))
    for records in (
        (),
        (file("app.mpy", b""),),
        (folder("lib"), folder("lib2", file("a", b"1"), folder("b", file("c", b"2")))),
        (padding, file("x", b"1"), padding, padding),
        (inside, folder("d", padding, inside, padding)),
        (_nested(8),),
        (file("n" * 100, b""), folder("n" * 100)),
        tuple([file("%d" % i, bytes(i)) for i in range(300)]),
    ):
        assert _structure(*records) is None


def test_each_record_that_lies_is_error_39():
    made = sample_image.record
    data = made(DATA, b"content")
    for records in (
        # Kinds that have no place.
        (made(POINTER, b"\4\0"),),
        (made(FILE, b"\1x" + made(POINTER, b"\4\0")),),
        (data,),
        (made(0, b""),),
        (made(6, b"x"),),
        (made(127, b""),),
        (made(0xFFFFFFF, b""),),
        # A file has one record of data, at its end.
        (made(FILE, b"\1x"),),
        (made(FILE, b"\1x" + data + data),),
        (made(FILE, b"\1x" + data + made(PADDING, b"")),),
        (made(FILE, b"\1x" + made(PADDING, b"")),),
        (made(FILE, b"\1x" + made(PADDING, b"") + made(PADDING, b"") + data),),
        (made(FILE, b"\1x" + file("y", b"")),),
        (made(FILE, b"\1x" + folder("y")),),
        (made(FILE, b""),),
        # Lengths that lead out of what they are in.
        (uint(FILE) + uint(1000) + b"\1x" + data,),
        (uint(PADDING) + uint(1),),
        (uint(PADDING) + uint(0xFFFFFFF),),
        (made(FILE, b"\1x" + uint(DATA) + uint(9) + b"content"),),
        (made(FILE, uint(9) + b"x" + data),),
        (made(FILE, uint(0xFFFFFFF) + b"x"),),
        (made(FOLDER, uint(3) + b"xy"),),
        (folder("d", uint(FILE) + uint(100) + b"\1x" + data), file("z", bytes(100))),
        (folder("d", uint(PADDING) + uint(5)), file("z", bytes(100))),
        # Numbers that are cut off or too long.
        (b"\x85",),
        (b"\5\x80",),
        (uint(FILE) + b"\x80\x80\x80\x80\x80\x09\1x" + data,),
        (uint(FILE) + b"\x90\x80\x80\x80\x09\1x" + data,),
        (made(FILE, b"\x81"),),
        # Folders, one in the other.
        (_nested(9),),
        (_nested(60),),
    ):
        assert _structure(*records) == 39, records


def test_names_are_checked_letter_by_letter():
    for c in range(256):
        good = c < 128 and chr(c) in _NAMES
        content, kind = (sample_image.record(DATA, b""), FILE) if c & 1 else (b"", FOLDER)
        named = sample_image.record(kind, b"\2" + bytes([c]) + b"a" + content)
        assert _structure(named) == (None if good else 39), c
    for name in ("...", ".a", "a" * 100):
        assert _structure(file(name, b""), folder(name)) is None, name
    for name in ("", ".", "..", "a" * 101):
        assert _structure(file(name, b"")) == _structure(folder(name)) == 39, name


def test_what_fills_the_romfs_up_is_at_most_3_bytes():
    for length in range(4):
        _board()
        data = romfs(file("MANIFEST", manifest()), file("x", bytes(length)))
        assert _code(with_footer(data)) is None
        # The footer is looked for where the ROMFS ends, by its own length.
        assert _code(with_footer(data + bytes(4))) == 37


def test_the_walk_reads_nothing_behind_the_slot_s_end():
    # The last records of the largest image, read in windows that reach beyond it.
    _board()
    data = image_of(LIMIT_BYTES)
    update = Update(data)
    with Watched() as flash:
        _run(update)
    assert max([offset + count for _, offset, count in flash.of("read")]) <= SLOTS["b"] + SLOT_BYTES


def test_an_error_tells_where_in_the_romfs_it_is():
    _board()
    records = (file("MANIFEST", manifest()), file("x", b"y"), sample_image.record(9, b""))
    data = romfs(*records)
    text = error_of(_run, Update(with_footer(data)))
    assert text == "ERROR[39]: Bad ROMFS: at byte %d" % len(data), text


def test_a_refusal_is_one_line():
    lines = []
    real = log.error
    log.error = lambda text, *args: lines.append(text % args)
    try:
        for data in (image(name=b"other"), image(text=b"mpota 1\n"), image()[:-4]):
            _board()
            assert "\n" not in error_of(_run, Update(data))
    finally:
        log.error = real
    assert lines == []
    assert slots.is_accepted("a")
