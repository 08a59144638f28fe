"""Application images: a good one is delivered as it is, a bad one ends in an OTAError."""

import gc
import io

from ota.errors import OTAError
from ota.image import read_image
from sample_image import (
    APP,
    FILES,
    Sink,
    code_of,
    file_line,
    header,
    image,
    manifest,
    member,
    read,
    with_checksum,
)

_END = bytes(1024)
_DAMAGED, _BAD_MANIFEST, _BAD_NAME, _MISMATCH = 37, 38, 39, 40


def _with(members, files=FILES):
    # A MANIFEST for `files`, and behind it `members`, bytes.
    return member("MANIFEST", manifest(files)) + members + _END


def _named(name, data=b"x"):
    # An image that lists one file, `name` (bytes), and has it, with a right digest.
    text = manifest([]) + file_line("?", data).replace(b" ?\n", b" " + name + b"\n")
    parts = (header(b"MANIFEST", len(text)), text, bytes(-len(text) % 512))
    return b"".join(parts) + header(name, len(data)) + data + bytes(-len(data) % 512) + _END


# What is good


def test_a_good_image_is_read_and_its_manifest_returned():
    m = read(image(FILES))
    assert (m.name, m.version, m.sequence, m.files) == ("sample", "1.2.3", 7, len(FILES))
    assert m.total_bytes == sum([len(data) for _, data in FILES])


def test_a_sink_gets_exactly_the_files():
    for buffer_bytes in (512, 513, 1460, 4096):
        sink = Sink()
        read(image(FILES), sink, buffer_bytes)
        assert sink.files == [("MANIFEST", manifest(FILES))] + FILES
        assert not sink.is_open


def test_a_stream_that_gives_a_byte_at_a_time_will_do():
    class Slow(io.IOBase):
        def __init__(self, data):
            self._data = io.BytesIO(data)

        def readinto(self, buf):
            return self._data.readinto(memoryview(buf)[:1])

        def readline(self, size):
            return self._data.readline(size)

    sink = Sink()
    for _ in read_image(Slow(image(FILES)), memoryview(bytearray(512)), sink):
        pass
    assert sink.files[1:] == FILES


def test_it_yields_after_every_block():
    steps = 0
    for _ in read_image(io.BytesIO(image(FILES)), memoryview(bytearray(512))):
        steps += 1
    lines = manifest(FILES).count(b"\n")
    assert steps == lines + sum([(len(data) + 511) // 512 for _, data in FILES])


def test_sizes_around_a_block_are_read():
    for size in (0, 1, 511, 512, 513, 1023, 1024, 1025, 5000):
        files = [("app.py", bytes([size & 255]) * size)]
        sink = Sink()
        read(image(files), sink)
        assert sink.files[1:] == files


def test_what_is_behind_the_end_blocks_is_ignored():
    for more in (b"\0", bytes(10240), b"\xff" * 260, b"signature" * 99, image(FILES)):
        assert read(image(FILES) + more).files == len(FILES)


def test_names_may_have_all_allowed_characters_and_100_of_them():
    for name in ("a", "Az09._-", "-", "...", ".x", "a" * 100, "/".join("a" * 8), "lib/MANIFEST"):
        sink = Sink()
        read(image([(name, b"x")]), sink)
        assert sink.files[1:] == [(name, b"x")]


def test_tars_of_the_usual_kinds_are_read():
    app = FILES[0][1]
    text = manifest(FILES[:1])
    for fields in (
        {"magic": b"ustar  \0"},  # GNU
        {"magic": b"ustar\00000"},
        {"kind": b"\0"},  # as before POSIX
    ):
        data = header(b"MANIFEST", len(text), **fields) + text + bytes(-len(text) % 512)
        data += header(b"app.py", len(app), **fields) + app + bytes(-len(app) % 512) + _END
        assert read(data).files == 1


def test_what_a_header_says_of_owner_time_and_mode_is_ignored():
    app = FILES[0][1]
    block = bytearray(header(b"app.py", len(app)))
    for at, value in (
        (100, b"0100755\0"),
        (108, b"0001750\0"),
        (136, b"14632112345\0"),
        (265, b"root"),
        (297, b"wheel"),
        (329, b"0000001\0"),
        (500, b"whatever"),
    ):
        block[at : at + len(value)] = value
    data = with_checksum(block) + app + bytes(-len(app) % 512)
    assert read(_with(data, FILES[:1])).files == 1


# Names


def test_no_hostile_name_is_accepted():
    reserved = (b"boot.py", b"main.py", b"ota.json", b".ota", b"MANIFEST")
    names = [
        b"",
        b"/",
        b"//",
        b".",
        b"..",
        b"./a",
        b"../a",
        b"a/b/c/d/e/f/g/h/i",  # deeper than the chip's stack can follow
        b"../../boot.py",
        b"a/..",
        b"a/../b",
        b"a/./b",
        b"a/.",
        b"a//b",
        b"a/",
        b"/a",
        b"/boot.py",
        b"/lib/ota/boot.py",
        b"a/../../lib/ota/boot.py",
        b"lib/../../record",
        b"..\\a",
        b"c:\\boot.py",
        b"c:a",
        b"a b",
        b" a",
        b"a ",
        b"a\tb",
        b"a\nb",
        b"a\rb",
        b"a\x1b[2Jb",
        b"a\x7f",
        b"a\x80",
        b"\xff\xfe",
        b"\xc3\xa4.py",
        b"\xc0\xae\xc0\xae/a",
        b"\xe2\x80\xa6",
        b"a*",
        b"a?",
        b"~/a",
        b"$HOME",
        b"%2e%2e/a",
        b"a%s",
        b"a:b",
        b"a;b",
        b"a|b",
        b"a&b",
        b"a'b",
        b'a"b',
        b"a<b",
        b"a>b",
        b"a`b",
        b"a,b",
        b"a+b",
        b"a=b",
        b"a@b",
        b"a#b",
        b"a!b",
        b"(a)",
        b"[a]",
        b"{a}",
        b"a^b",
    ]
    names += reserved
    names += [name + b"/x" for name in reserved]
    for name in names:
        sink = Sink()
        code = code_of(read, _named(name), sink)
        # A name that MANIFEST cannot even hold is refused there.
        assert code in (_BAD_NAME, _BAD_MANIFEST), (name, code)
        assert [n for n, _ in sink.files if n != "MANIFEST"] == [], name


def test_every_byte_but_the_allowed_is_refused_in_a_name():
    allowed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
    for c in range(1, 256):
        name = b"x" + bytes([c]) + b"y"
        data = header(name, 1) + b"x" + bytes(511)
        code = code_of(read, member("MANIFEST", manifest([("xy", b"x")])) + data + _END)
        # Allowed, it is not the name that is listed.
        assert code == (_MISMATCH if c in allowed + b"/" else _BAD_NAME), c


def test_reserved_names_are_free_further_down():
    files = [("lib/" + name, b"x") for name in ("boot.py", "main.py", "ota.json", ".ota")]
    assert read(image(files)).files == 4


def test_a_name_with_a_prefix_is_refused():
    data = header(b"app.py", 3, prefix=b"some/where") + b"abc" + bytes(509)
    assert code_of(read, _with(data)) == _BAD_NAME


def test_a_name_that_comes_twice_is_refused():
    twice = [("app.py", b"1"), ("b.py", b"2"), ("app.py", b"1")]
    sink = Sink()
    assert code_of(read, image(twice), sink) == _BAD_NAME
    assert [name for name, _ in sink.files] == ["MANIFEST", "app.py", "b.py"]


def test_bytes_behind_the_name_are_ignored():
    data = header(b"app.py\0../boot.py", 3) + b"abc" + bytes(509)
    sink = Sink()
    read(_with(data, [("app.py", b"abc")]), sink)
    assert sink.files[1:] == [("app.py", b"abc")]


# Types and headers


def test_only_regular_files_are_accepted():
    for kind in range(256):
        data = header(b"app.py", len(APP), kind=bytes([kind])) + APP + bytes(-len(APP) % 512)
        code = code_of(read, _with(data, FILES[:1]))
        assert code == (None if kind in (0, 48) else _DAMAGED), kind


def test_a_link_a_folder_or_an_extension_is_refused():
    for kind in b"1234567xgLKSDV":
        for name in (b"app.py", b"lib/"):
            block = bytearray(header(name, 0, kind=bytes([kind])))
            block[157:167] = b"/boot.py\0\0"
            sink = Sink()
            assert code_of(read, _with(with_checksum(block)), sink) == _DAMAGED
            assert len(sink.files) == 1


def test_a_header_without_the_magic_or_with_another_checksum_is_refused():
    for magic in (b"\0\0\0\0\0\0", b"USTAR\0", b"ustaR\0"):
        assert code_of(read, _with(header(b"app.py", 0, magic=magic))) == _DAMAGED
    good = header(b"app.py", 0)
    for checksum in (b"        ", b"\0" * 8, b"00000000", b"7777777\0", b"x" * 8, b" 00" * 3):
        assert code_of(read, _with(good[:148] + checksum[:8] + good[156:])) == _DAMAGED


def test_a_size_that_is_no_octal_number_is_refused():
    for size in (
        b"8\0",
        b"0000000001a\0",
        b"-1\0",
        b"\x80" + bytes(11),
        b"\xff" * 12,
        b"+1\0",
        b"          0\0",
    ):
        assert code_of(read, _with(header(b"app.py", size) + bytes(512))) == _DAMAGED, size


def test_a_size_beyond_the_stream_or_manifest_is_refused():
    for size in (512, 513, 10**6, 0o77777777777):
        code = code_of(read, _with(header(b"app.py", b"%012o" % size) + bytes(512)))
        assert code in (_DAMAGED, _MISMATCH), size


def test_what_is_no_tar_is_refused():
    for data in (b"", b"M", b"MANIFEST", b"\xe9" * 4096, b"M" * 4096, b"\x1f\x8b" * 999):
        assert code_of(read, data) == _DAMAGED
    assert code_of(read, bytes(4096)) == _DAMAGED


# MANIFEST against members


def test_manifest_must_be_the_first_file():
    app = member("app.py", APP)
    text = member("MANIFEST", manifest(FILES[:1]))
    assert code_of(read, app + text + _END) == _BAD_MANIFEST
    assert code_of(read, app + _END) == _BAD_MANIFEST
    assert code_of(read, text + text + app + _END) == _BAD_NAME


def test_manifest_has_65536_bytes_at_most():
    fill = b"note " + b"x" * 250 + b"\n"
    for over in (0, 1):
        text = manifest(FILES[:1])
        text += fill * ((65536 - len(text)) // 256 - 1)
        left = 65536 - len(text) + over
        text += b"note " + b"x" * (left // 2 - 6) + b"\n"
        text += b"note " + b"x" * (65536 + over - len(text) - 6) + b"\n"
        assert len(text) == 65536 + over
        data = member("MANIFEST", text) + member("app.py", APP) + _END
        assert code_of(read, data) == (_BAD_MANIFEST if over else None)


def test_a_manifest_of_an_unknown_kind_or_no_kind_is_refused():
    for text in (b"", b"mpota 2\n" + manifest(FILES)[8:], manifest(FILES)[:-1], b"\n", b"\0" * 99):
        data = member("MANIFEST", text) + b"".join([member(*file) for file in FILES]) + _END
        assert code_of(read, data) == _BAD_MANIFEST, text


def test_files_and_manifest_must_agree():
    one, two, three = [member(name, data) for name, data in FILES]
    size = len(FILES[0][1])
    for members in (
        b"",
        one,
        one + two,
        one + three + two,
        two + one + three,
        one + two + three + member("more.py", b""),
        one + two + three + member("more.py", b"x"),
        one + two + member("empty2", b""),
        one + two + member("empty", b"x"),
        member("app.py", APP[:-1]) + two + three,
        member("app.py", APP + b"#") + two + three,
        member("app.py", b"x" * size) + two + three,
        member("app2.py", APP) + two + three,
    ):
        assert code_of(read, _with(members)) == _MISMATCH
    assert code_of(read, _with(one + two + three)) is None


def test_a_file_line_must_be_written_in_the_one_way():
    good = manifest(FILES[:1])
    line = file_line(*FILES[0])
    size = b" %d " % len(APP)
    upper = line[:-8].upper().replace(b"FILE", b"file") + line[-8:]
    for text in (
        good.replace(line, line.replace(size, b" 0%d " % len(APP))),
        good.replace(line, upper),
        good + line,
    ):
        assert text != good
        data = member("MANIFEST", text) + member("app.py", APP) + _END
        assert code_of(read, data) == _MISMATCH


def test_it_does_not_take_in_more_than_manifest_lists():
    # The size of all files is known: a file beyond it is refused before it is read.
    big = bytes(100000)
    sink = Sink()
    assert code_of(read, _with(member("app.py", big)), sink) == _MISMATCH
    assert len(sink.files) == 1


# Truncated and altered


def _small():
    return image([("app.py", APP)])


def test_no_truncated_image_is_accepted():
    data = _small()
    for size in range(len(data)):
        code = code_of(read, data[:size])
        assert code in (_DAMAGED, _BAD_MANIFEST, _MISMATCH), (size, code)
    assert read(data)


def test_an_image_without_both_end_blocks_is_refused():
    data = _small()
    assert code_of(read, data[:-512]) == _DAMAGED
    assert code_of(read, data[:-512] + member("x", b"")) == _DAMAGED
    assert code_of(read, data[:-512] + b"\1" * 512) == _DAMAGED


def _ignored(at, manifest_bytes):
    """Whether docs/SPEC.md says of the byte at *at* of `_small()` that it means nothing."""
    app = 512 + (manifest_bytes + 511) // 512 * 512
    if 512 <= at < app:
        return at >= 512 + manifest_bytes  # padding
    if at >= app + 512:
        return app + 512 + len(APP) <= at < app + 1024
    return (at if at < 512 else at - app) == 155  # the checksum's last byte, behind its end


def test_every_bit_of_a_header_and_of_content_counts():
    data = bytearray(_small())
    text = manifest([("app.py", APP)])
    facts = 512 + text.find(b"file ")
    app = 512 + (len(text) + 511) // 512 * 512
    accepted = 0
    for at in range(len(data)):
        if 512 <= at < facts:
            continue  # the facts of MANIFEST: the next test
        # Of zeros, padding and end blocks, one bit of each byte will do.
        is_zeros = at >= app + 512 + len(APP) or 512 + len(text) <= at < app
        for bit in (at % 8,) if is_zeros else range(8):
            data[at] ^= 1 << bit
            code = code_of(read, data)
            # The checksum ends in a zero byte or a space.
            ends = (
                at % 512 == 154
                and bit == 5
                and (at < 512 or data[at - 154 : at - 148] == b"app.py")
            )
            if code is None:
                accepted += 1
            assert (code is None) == (_ignored(at, len(text)) or ends), (at, bit, code)
            data[at] ^= 1 << bit
    padding = -len(text) % 512 + 512 - len(APP)
    assert accepted == padding + 8 * 2 + 2
    assert read(data)


def test_no_bit_of_the_facts_can_do_more_than_change_a_fact():
    # Nothing in an image vouches for the lines above the files: the transport's digest does.
    data = bytearray(_small())
    text = manifest([("app.py", APP)])
    for at in range(512, 512 + text.find(b"file ")):
        for bit in range(8):
            data[at] ^= 1 << bit
            sink = Sink()
            code = code_of(read, data, sink)
            assert code in (None, _BAD_MANIFEST, _MISMATCH), (at, bit, code)
            if code is None:
                assert sink.files[1:] == [("app.py", APP)]
            data[at] ^= 1 << bit


def test_of_random_garbage_nothing_but_an_ota_error_comes():
    import random

    random.seed(1969)
    good = image(FILES)
    for _ in range(500):
        data = bytearray(good)
        for _ in range(1 + random.getrandbits(3)):
            at = random.getrandbits(16) % len(data)
            block = at // 512 * 512
            data[at] = random.getrandbits(8)
            if random.getrandbits(1) and data[block + 257 : block + 262] == b"ustar":
                data[block : block + 512] = with_checksum(data[block : block + 512])
        sink = Sink()
        code = code_of(read, data, sink)
        assert code in (None, 37, 38, 39, 40)
        if code is None:
            assert sink.files[1:] == FILES


# Memory


def _heap_while_reading(data):
    # The most that is allocated, in bytes, beyond what there is before, at any yield.
    stream, buf = io.BytesIO(data), memoryview(bytearray(512))
    gc.collect()
    before = gc.mem_alloc()
    most = 0
    for step, _ in enumerate(read_image(stream, buf)):
        if step % 16 == 0:
            gc.collect()
            most = max(most, gc.mem_alloc() - before)
    return most


def test_the_heap_holds_a_mark_for_each_file_and_nothing_else():
    few = image([("f%d.py" % i, b"x" * 600) for i in range(4)])
    many = image([("a/long/name/of/a/file/number%d.py" % i, b"x" * 600) for i in range(256)])
    large = image([("f%d.py" % i, b"x" * 60000) for i in range(4)])
    _heap_while_reading(few)  # what is loaded and kept at the first use is not counted
    base = _heap_while_reading(few)
    # The marks are small ints in a set: a word each, and some words that are free.
    assert 256 * 8 <= _heap_while_reading(many) - base <= 256 * 8 * 3 // 2
    assert abs(_heap_while_reading(large) - base) <= 128


def test_an_error_is_an_ota_error_with_a_text():
    try:
        read(b"no tar" * 100)
        raise AssertionError("no OTAError")
    except OTAError as e:
        assert str(e) == "ERROR[37]: Image is truncated or damaged: not a tar"
