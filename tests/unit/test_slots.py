"""The slots: their marks, whether they are whole, the size of a ROMFS, MANIFEST, and the mount."""

import os
import random
import sys

import sample_image
import vfs
from flash_stubs import Watched, fails
from ota import hal, slots
from ota.errors import OTAError
from sample_image import (
    LIMIT_BYTES,
    MAPPED_AT,
    SECTOR_BYTES,
    SLOT_BYTES,
    SLOTS,
    clear_slot,
    code_of,
    content_of,
    error_of,
    file,
    fill_slot,
    folder,
    image,
    image_of,
    record,
    romfs,
    uint,
    with_footer,
)

_BLANK = b"\xff" * 4
_SEED = 20261126


def _buffer():
    return bytearray(1024)


# Marks


def test_the_slots_are_where_the_flash_map_has_them():
    for slot in "ab":
        assert slots.start(slot) == SLOTS[slot]
    assert slots.IMAGE_LIMIT_BYTES == LIMIT_BYTES == 102144
    assert slots.start("b") - slots.start("a") == SLOT_BYTES == 100 * 1024


def test_each_mark_is_one_word_at_the_end_of_its_slot():
    for slot in "ab":
        clear_slot(slot)
        before = content_of(slot)
        with Watched() as flash:
            slots.mark_accepted(slot)
        end = SLOTS[slot] + SLOT_BYTES
        assert flash.of("program", "erase") == [("program", end - 8, 4)]
        assert content_of(slot) == before[:-8] + b"ACPT" + _BLANK
        with Watched() as flash:
            slots.mark_rejected(slot)
        assert flash.of("program", "erase") == [("program", end - 4, 4)]
        assert content_of(slot) == before[:-8] + b"ACPTRJCT"


def test_the_marks_of_one_slot_say_nothing_of_the_other():
    clear_slot("a")
    clear_slot("b")
    slots.mark_accepted("b")
    slots.mark_rejected("a")
    assert (slots.is_accepted("a"), slots.is_rejected("a")) == (False, True)
    assert (slots.is_accepted("b"), slots.is_rejected("b")) == (True, False)


def _with_marks(accepted, rejected):
    clear_slot("b")
    end = SLOTS["b"] + SLOT_BYTES
    hal.flash_write(end - 8, bytearray(accepted + rejected))
    return slots.is_accepted("b"), slots.is_rejected("b")


def test_only_the_whole_word_accepts_and_anything_at_all_rejects():
    assert _with_marks(b"ACPT", _BLANK) == (True, False)
    assert _with_marks(_BLANK, _BLANK) == (False, False)
    assert _with_marks(bytes(4), _BLANK) == (False, False)
    assert _with_marks(b"ACPT", b"RJCT") == (False, True)
    # Of a word that a power cut has torn, some bits are still erased.
    for bit in range(32):
        torn = bytearray(b"ACPT")
        if not torn[bit // 8] & 1 << bit % 8:
            torn[bit // 8] |= 1 << bit % 8
            assert _with_marks(torn, _BLANK) == (False, False), bit
        torn = bytearray(_BLANK)
        torn[bit // 8] ^= 1 << bit % 8
        assert _with_marks(b"ACPT", torn) == (False, True), bit


def test_accepted_is_spoiled_by_a_program_alone():
    for slot in "ab":
        fill_slot(slot, image(5))
        assert slots.is_accepted(slot)
        with Watched() as flash:
            slots.spoil_accepted(slot)
        assert flash.of("program", "erase") == [("program", SLOTS[slot] + SLOT_BYTES - 8, 4)]
        assert not slots.is_accepted(slot) and not slots.is_rejected(slot)


def test_erasing_the_marks_takes_the_sector_that_they_are_in():
    for slot in "ab":
        fill_slot(slot, b"\0" * LIMIT_BYTES)
        with Watched() as flash:
            slots.erase_marks(slot)
        at = SLOTS[slot] + SLOT_BYTES - SECTOR_BYTES
        assert flash.of("program", "erase") == [("erase", at, SECTOR_BYTES)]
        assert content_of(slot)[-SECTOR_BYTES:] == b"\xff" * SECTOR_BYTES


def test_a_mark_that_does_not_read_back_is_error_3():
    def spoil(offset, buffer):
        buffer[0] = 0xFF

    clear_slot("a")
    with Watched() as flash:
        flash.spoil = spoil
        assert code_of(slots.mark_accepted, "a") == 3


# Whether a slot is whole


def test_an_image_of_any_size_is_whole_whatever_the_buffer():
    for size in (1024, 1028, 4096, LIMIT_BYTES):
        fill_slot("b", image_of(size))
        for buffer_bytes in (16, 260, 1024, 4096):
            assert slots.is_whole("b", bytearray(buffer_bytes)), (size, buffer_bytes)
    assert not slots.is_whole("a", _buffer())


def test_what_is_behind_the_footer_does_not_matter():
    fill_slot("a", image() + b"signature" * 30)
    assert slots.is_whole("a", _buffer())


def test_a_bit_flipped_anywhere_in_the_image_is_found():
    data = image()
    fill_slot("a", data)
    with Watched() as flash:
        for at in list(range(0, len(data), 7)) + list(range(len(data) - 40, len(data))):
            for bit in (0, 7):

                def spoil(offset, buffer, at=at, bit=bit):
                    i = SLOTS["a"] + at - offset
                    if 0 <= i < len(buffer):
                        buffer[i] ^= 1 << bit

                flash.spoil = spoil
                assert not slots.is_whole("a", _buffer()), (at, bit)
        flash.spoil = None
        assert slots.is_whole("a", _buffer())


def test_an_image_cut_short_or_without_a_footer_is_not_whole():
    data = image()
    good = romfs(file("MANIFEST", sample_image.manifest()))
    for content in (
        b"",
        data[:-4],
        data[:-40],
        data[: len(data) // 2],
        with_footer(good, magic=b"MPOG"),
        with_footer(good, length=len(good) - 4),
        with_footer(good, length=len(good) + 4),
        with_footer(good, digest=bytes(32)),
        b"\xd2\xcd\x30" + data[3:],
        b"\xd2\xcd\x31" + bytes(100),
    ):
        fill_slot("a", content)
        assert not slots.is_whole("a", _buffer()), len(content)


def test_a_length_that_leads_out_of_the_slot_is_not_followed():
    for length in (LIMIT_BYTES - 40, LIMIT_BYTES, SLOT_BYTES, 0xFFFFFFF, 0x7FFFFFFFF):
        fill_slot("b", b"\xd2\xcd\x31" + uint(length) + bytes(1000))
        with Watched() as flash:
            assert not slots.is_whole("b", _buffer()), length
        for _, offset, count in flash.done:
            assert offset + count <= SLOTS["b"] + SLOT_BYTES


def test_only_what_is_accepted_not_rejected_and_whole_is_usable():
    data = image()
    for content, accepted, rejected, usable in (
        (data, True, False, True),
        (data, False, False, False),
        (data, True, True, False),
        (data, False, True, False),
        (data[:-4], True, False, False),
    ):
        fill_slot("a", content, accepted, rejected)
        assert slots.is_usable("a", _buffer()) is usable


def test_a_slot_is_read_through_the_flash_controller():
    # The memory map still has what was there when the board was reset: nothing.
    data = image()
    fill_slot("a", data)
    from uctypes import bytearray_at

    assert bytes(bytearray_at(MAPPED_AT + SLOTS["a"], 4)) == _BLANK
    with Watched() as flash:
        assert slots.is_usable("a", _buffer())
        assert slots.manifest_of("a")["sequence"] == 7
    assert sum([count for _, _, count in flash.of("read")]) >= len(data)


# The length of a ROMFS


def test_numbers_are_read_as_they_are_written():
    for n in (0, 1, 127, 128, 16383, 16384, 0x1FFFFF, 0x200000, 0xFFFFFFF):
        for length in range(5):
            data = b"?" + uint(n, length) + b"rest"
            assert slots.decode_uint(data, 1) == (n, len(data) - 4), (n, length)
    # Cut off, of more than 28 bits, or of more than 5 bytes.
    for data in (b"", b"\x80", b"\xff\xff\xff", b"\xff" * 4 + b"\x7f", b"\x80" * 5 + b"\1"):
        try:
            slots.decode_uint(data, 0)
            raise AssertionError("no ValueError: %r" % data)
        except ValueError:
            pass


def test_the_length_of_a_romfs_counts_its_head_and_is_a_multiple_of_4():
    for n in (1, 2, 3, 4, 127, 128, 5000):
        data = romfs(record(sample_image.PADDING, bytes(n)))
        assert slots.romfs_bytes(data[:16]) == len(data) + 3 & ~3
    for head in (b"", b"\xd2\xcd\x31", b"\xd2\xcd\x31\x80", b"\xd2\xcd\x30\x04", _BLANK * 4):
        assert slots.romfs_bytes(head) == 0, head


# MANIFEST


def _read(text, first=b""):
    data = romfs(first, file("MANIFEST", text))
    return slots.read_manifest(data[:768])


def test_the_words_of_a_manifest_are_read():
    found = _read(sample_image.manifest())
    assert found == {
        "name": "sample",
        "version": "1.2.3",
        "sequence": 7,
        "board": "esp8266",
        "mpy": "6.3",
    }
    assert _read(b"mpota 2\nsequence 1\nversion v\nname n\n") == {
        "name": "n",
        "version": "v",
        "sequence": 1,
    }
    assert _read(sample_image.manifest(more=b"downgrade yes\n"))["downgrade"] == "yes"


def _is_refused(text):
    return code_of(_read, text) == 38


def test_the_first_line_must_name_the_format():
    rest = b"name n\nversion v\nsequence 1\n"
    for line in (b"mpota 1\n", b"mpota 2 \n", b" mpota 2\n", b"mpota 20\n", b"MPOTA 2\n", b""):
        assert _is_refused(line + rest), line
    assert not _is_refused(b"mpota 2\n" + rest)


def test_unknown_keys_are_ignored():
    for line in (b"colour green", b"mpota 2", b"Name x y z", b"files 3", b"filex", b" ", b"~"):
        assert _read(sample_image.manifest(more=line + b"\n"))["name"] == "sample", line


def test_lines_hold_printable_ascii_only():
    for c in range(256):
        text = sample_image.manifest(more=b"note a" + bytes([c]) + b"b\n")
        assert _is_refused(text) == (not 32 <= c <= 126 and c != 10), c
    assert _is_refused(sample_image.manifest(more=b"\n"))
    assert _is_refused(sample_image.manifest().replace(b"\n", b"\r\n"))


def test_a_line_has_128_bytes_at_most():
    assert _read(sample_image.manifest(more=b"x" * 127 + b"\n"))["name"] == "sample"
    assert _is_refused(sample_image.manifest(more=b"x" * 128 + b"\n"))


def test_a_known_key_has_one_word_of_32_characters_at_most_and_stands_once():
    good = sample_image.manifest(more=b"downgrade yes\n")
    for line in good.split(b"\n")[1:-1]:
        key = line.split(b" ")[0]
        for spoilt in (
            key,
            key + b" ",
            key + b"  1",
            key + b" 1 ",
            key + b" 1 1",
            key + b" " + b"1" * 33,
            line + b"\n" + line,
        ):
            assert _is_refused(good.replace(line, spoilt)), spoilt
    longest = b"n" * 32
    assert _read(sample_image.manifest(name=longest))["name"] == longest.decode()


def test_name_version_and_sequence_must_be_there():
    good = sample_image.manifest()
    for key in (b"name", b"version", b"sequence", b"board", b"mpy"):
        lines = [line for line in good.split(b"\n") if not line.startswith(key)]
        assert _is_refused(b"\n".join(lines)) == (key not in (b"board", b"mpy")), key


def test_the_sequence_is_a_positive_number_of_30_bits():
    text = b"mpota 2\nname n\nversion v\nsequence %s\n"
    for word in (b"1", b"7", b"%d" % 0x3FFFFFFF, b"0000000009"):
        assert _read(text % word)["sequence"] == int(word)
    for word in (b"0", b"-1", b"+1", b"1.0", b"1e3", b"0x10", b"1_0", b"seven", b"9" * 32):
        assert _is_refused(text % word), word
    assert _is_refused(text % (b"%d" % 0x40000000)) and _is_refused(text % b"00000000001")


def test_a_manifest_has_512_bytes_at_most_and_ends_with_its_last_line():
    good = sample_image.manifest()
    full = good
    while len(full) < 400:
        full += b"x" * 99 + b"\n"
    full += b"z" * (511 - len(full)) + b"\n"
    assert len(full) == 512 and _read(full)["name"] == "sample"
    assert _is_refused(full[:-1] + b"z\n")
    assert _is_refused(good[:-1]) and _is_refused(b"")


def test_manifest_must_be_the_first_record_and_a_file_with_its_data_in_the_head():
    text = sample_image.manifest()
    for data in (
        romfs(),
        romfs(file("app.mpy", b"x"), file("MANIFEST", text)),
        romfs(folder("MANIFEST", file("MANIFEST", text))),
        romfs(file("MANIFESU", text)),
        romfs(file("manifest", text)),
        romfs(record(5, b"\x08MANIFEST" + record(3, text))),
        romfs(record(5, b"\x08MANIFEST" + uint(2) + uint(700) + text)),
        romfs(record(5, uint(0xFFFFFFF) + b"MANIFEST" + record(2, text))),
        romfs(file("MANIFEST", text))[:60],
        romfs(file("MANIFEST", text))[:12],
    ):
        assert code_of(slots.read_manifest, data[:768]) == 38, data[:20]


def test_an_error_tells_the_line_or_what_is_wrong():
    assert error_of(_read, b"x\n") == "ERROR[38]: Bad MANIFEST: not 'mpota 2'"
    assert error_of(_read, b"mpota 2\nname x\nname y\n") == "ERROR[38]: Bad MANIFEST: line 3: name"
    assert "line 2: not plain text" in error_of(_read, b"mpota 2\n\xff\n")
    assert "missing" in error_of(_read, b"mpota 2\nname x\n")


def _mutated(data):
    data = bytearray(data)
    for _ in range(1 + random.getrandbits(2)):
        at = random.getrandbits(16) % len(data)
        kind = random.getrandbits(2)
        if kind < 2:
            data[at] ^= 1 << random.getrandbits(3)
        elif kind == 2:
            data[at:at] = bytes([random.getrandbits(8)])
        else:
            data[at : at + 1] = b""
    return bytes(data)


def test_of_mutated_heads_nothing_but_an_ota_error_comes():
    random.seed(_SEED)
    head = image()[:768]
    codes = {None: 0, 38: 0}
    for i in range(5000):
        # Half of them in the record, half in the text.
        data = _mutated(head[:140])[: 5 + random.getrandbits(8)] if i & 1 else _mutated(head)
        codes[code_of(slots.read_manifest, data)] += 1
    assert codes[None] > 500 and codes[38] > 500, codes


def test_the_manifest_of_a_slot_is_read_from_flash():
    fill_slot("b", image(9))
    assert slots.manifest_of("b")["sequence"] == 9
    clear_slot("b")
    assert code_of(slots.manifest_of, "b") == 38


# Mounted


def test_a_slot_is_mounted_in_place_and_its_files_are_there():
    # The image that conftest.py has put into the flash before the board was switched on.
    slots.mount("b")
    try:
        assert sorted(os.listdir("/app")) == ["MANIFEST", "place.mpy"]
        sys.path.append("/app")
        from place import DATA
        from uctypes import addressof

        assert 0 <= addressof(DATA) - MAPPED_AT - SLOTS["b"] < SLOT_BYTES
    finally:
        vfs.umount("/app")


def test_what_is_no_romfs_is_not_mounted():
    try:
        slots.mount("a")
        raise AssertionError("no OSError")
    except OSError:
        pass
    assert "app" not in os.listdir("/")


def test_flash_that_does_not_answer_says_nothing_of_a_slot():
    fill_slot("a", image())
    with Watched() as flash:
        flash.before = fails
        for function in (slots.is_accepted, slots.is_rejected, slots.manifest_of):
            try:
                function("a")
                raise AssertionError("no OSError")
            except OTAError:
                raise
            except OSError:
                pass
