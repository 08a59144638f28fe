"""The reader of tars: what it accepts, and with which words it refuses others."""

import gc
from io import BytesIO

from ota import data
from ota.data.tar import Tar, is_head
from ota.errors import OTAError
from sample_tar import GNU, USTAR, V7, entry, header, tar

_FILES = [(b"index.html", b"<p>" * 300), (b"fonts/a.bin", bytes(range(256)) * 5), (b"empty", b"")]


def _read(content, end=None):
    # Returns the files and folders in a tar: pairs of name and content, None for a folder.
    file = BytesIO(content)
    image = Tar(file, len(content) if end is None else end)
    found = []
    for name, size, at in image.entries():
        name = data._checked(name)
        if size is None:
            found.append((name, None))
        else:
            source = image.open(name, at)
            content_of = source.read(size)
            assert len(content_of) == size
            found.append((name, content_of))
    return found


def _refusal(content, end=None):
    # The words that a tar is refused with; None: it is not.
    try:
        _read(content, end)
    except OTAError as e:
        assert e.code == 47, e
        return e.detail
    return None


# What is taken


def test_files_are_read_from_tars_of_every_kind():
    expected = [(name.decode(), content) for name, content in _FILES]
    for magic in (USTAR, GNU, V7):
        for kind in (b"0", b"\0"):
            made = tar(*[entry(name, c, magic=magic, kind=kind) for name, c in _FILES])
            assert is_head(memoryview(made))
            assert _read(made) == expected, (magic, kind)
            assert _read(made + bytes(9000)) == expected
            assert _read(made + b"signature", len(made)) == expected


def test_a_name_may_be_in_two_parts_where_the_kind_of_tar_has_that():
    long = b"a" * 50
    assert _read(tar(entry(long, b"x", prefix=b"some/where"))) == [
        ("some/where/" + long.decode(), b"x")
    ]
    # In GNU's form other things stand there.
    assert _read(tar(entry(long, b"x", prefix=b"12345670", magic=GNU))) == [(long.decode(), b"x")]


def test_folders_are_read_in_both_ways_of_writing_them():
    for made in (header(b"pages/", kind=b"5"), header(b"pages/"), header(b"pages", kind=b"5")):
        assert _read(tar(made, entry(b"pages/x", b"1"))) == [("pages", None), ("pages/x", b"1")]


def test_names_that_begin_at_the_current_folder_are_taken():
    made = tar(header(b"./", kind=b"5"), entry(b"./a", b"1"), entry(b"././b", b"2"))
    assert _read(made) == [("a", b"1"), ("b", b"2")]


def test_times_and_other_things_of_further_headers_are_passed_over():
    times = b"30 mtime=1700000000.1234567890\n27 atime=1700000000.123456\n"
    comment = b"52 comment=0123456789abcdef0123456789abcdef01234567\n"
    made = tar(
        entry(b"pax_global_header", comment, kind=b"g"),
        entry(b"./PaxHeaders/a", times, kind=b"x"),
        entry(b"a", b"1"),
    )
    assert _read(made) == [("a", b"1")]


def test_an_empty_tar_has_no_files():
    assert _read(tar()) == [] and not is_head(memoryview(tar()))


def test_names_that_are_as_long_and_as_deep_as_can_be_are_taken():
    for name in (b"x" * 100, b"a/b/c/d/e/f/g/h/i", b"A-Z_0.9", b"...", b"..a", b".b"):
        assert _read(tar(entry(name, b"1"))) == [(name.decode(), b"1")]


# What is refused

_NAMES = (
    b"", b"/", b"/etc/passwd", b"//a", b"a//b", b"a/", b"a//", b".", b"..", b"../a", b"a/..",
    b"a/../b", b"./../a", b"a/./b", b"./.", b"a/.", b"../../.ota/record", b"..//a", b"a b", b" a",
    b"./../../boot.py", b"a ", b"a\\b", b"..\\a", b"C:\\a", b"c:a", b"a:b", b"a\nb", b"a\rb",
    b"a\tb", b"a\x01", b"a\x7f", b"a\x80", b"\xc3\xa4", b"\xff\xfe", b"a*", b"a?", b"a|b", b"a>b",
    b"a<b", b'a"b', b"a'b", b"a&b", b"a;b", b"$a", b"`a`", b"~", b"~/a", b"#a", b"a,b", b"a=b",
    b"a+b", b"a@b", b"(a)", b"[a]", b"{a}", b"a%2e", b"%2e%2e/a", b"a/b/c/d/e/f/g/h/i/j", b"a!",
    b"a^b",
)  # fmt: skip


def test_no_hostile_name_is_taken():
    assert len(_NAMES) >= 50
    for name in _NAMES:
        for magic in (USTAR, GNU, V7):
            # One that ends with a slash is that of a folder, which has no content.
            for kind in (b"0", b"\0"):
                words = _refusal(
                    tar(entry(b"good", b"1"), entry(name, b"2", magic=magic, kind=kind))
                )
                assert words, name
        if name not in (b"/", b"a/", b"", b".", b"./."):
            assert _refusal(tar(header(name, kind=b"5"))), name
    assert _refusal(tar(entry(b"b", b"1", prefix=b"..")))
    assert _refusal(tar(entry(b"b", b"1", prefix=b"/a")))
    assert _refusal(tar(entry(b"b" * 60, b"1", prefix=b"a" * 40)))


def test_links_devices_and_other_kinds_are_refused():
    for kind in (b"1", b"2", b"3", b"4", b"6", b"7", b"L", b"K", b"S", b"V", b"\n", b"\xff"):
        words = "an entry of kind %r: make it with 'mpota mkdata' or 'tar" % chr(kind[0])
        for size in (0, 700):
            found = _refusal(tar(entry(b"a", bytes(size), kind=kind)))
            assert words in (found or ""), (kind, found)


def test_further_headers_that_change_a_name_or_a_size_are_refused():
    for text in (
        b"12 path=../a\n",
        b"30 mtime=1700000000.12345678901\n12 path=../a\n",
        b"11 size=600\n",
        b"15 linkpath=/a\n",
        b"28 GNU.sparse.name=../../a\n",
        b"x" * 513,
    ):
        for kind in (b"x", b"g"):
            words = _refusal(tar(entry(b"h", text, kind=kind), entry(b"a", b"1")))
            assert words and words.startswith("further headers: make it with"), (text, words)


def test_headers_that_are_damaged_are_refused():
    good = entry(b"good", b"1" * 600)
    for bad in (
        header(b"a", sum_field=b"0000000\0"),
        header(b"a", sum_field=b"        "),
        header(b"a", sum_field=b"\xff" * 8),
        header(b"a", magic=b"ustar\x0001")[:262] + b"?" + header(b"a")[263:],
        b"?" * 512,
        b"\xff" * 512,
        b"\0" * 511 + b"?",
    ):
        assert _refusal(tar(good, bad)), bad


def test_sizes_that_are_none_or_too_large_are_refused():
    for size_field in (
        b"\0" * 12,
        b" " * 12,
        b"00000000008\0",
        b"-0000000001\0",
        b"0x00000001 \0",
        b"1_0        \0",
        b"\x80" + bytes(10) + b"\x01",
        b"\xff" * 12,
        b"77777777777\0",
        b"777777777777",
        b"00000002000\0",
    ):
        made = tar(entry(b"a", b"1"), header(b"b", size_field=size_field))
        assert _refusal(made), size_field
    assert _refusal(tar(header(b"a/", size_field=b"00000000001\0")))
    assert "a folder with a size" in _refusal(tar(entry(b"a", b"123", kind=b"5")))


def test_a_tar_that_is_cut_off_anywhere_is_refused():
    made = tar(entry(b"a", b"1" * 700), entry(b"b", b"2" * 30))
    for end in list(range(0, len(made) - 512, 37)) + [512, 1024, 1536, 2048, 2560, 3072]:
        if end < len(made) - 511:
            assert _refusal(made[:end]), end
            assert _refusal(made, end), end


def test_what_follows_the_end_is_refused_if_it_is_no_zeros():
    made = tar(entry(b"a", b"1"))
    for more in (made, b"x", bytes(512) + b"x", b"\0" * 511 + b"x"):
        assert _refusal(made + more)
    assert _refusal(made[:-512] + made)  # one block of zeros in the middle


def test_a_tar_of_many_entries_takes_no_more_memory_than_one_of_few():
    def peak(count):
        made = tar(*[entry(b"f%d" % i, b"x") for i in range(count)])
        image = Tar(BytesIO(made), len(made))
        gc.collect()
        before = gc.mem_alloc()
        most = 0
        for _ in image.entries():
            gc.collect()
            most = max(most, gc.mem_alloc() - before)
        return most

    assert peak(60) <= peak(3) + 64
