"""ROMFS: MicroPython reads what was built; a hostile ROMFS is refused before it is read."""

import random

import hostile_romfs
import pytest
from hostile_romfs import DATA, FILE, PADDING, file, filesystem, folder, record, uint
from micropython import listings
from mpota.errors import DamagedImageError
from mpota.image import romfs

FILES = {
    "MANIFEST": b"mpota 2\n",
    ".ota/ota/__init__.mpy": b"M\x06",
    "app.mpy": bytes(range(256)) * 5,
    "empty": b"",
    "lib/a/b/c/d/e/f/g.mpy": b"seven folders",
    "lib/valves.mpy": b"v" * 20_000,
}


def test_what_is_built_is_read_back_in_its_order():
    data = romfs.build(FILES)
    assert romfs.read(data) == FILES and list(romfs.read(data)) == list(FILES)
    assert romfs.first_file(data) == ("MANIFEST", b"mpota 2\n")
    assert romfs.size_bytes(data) == len(data) and len(data) % 2 == 0


def test_a_folder_is_written_once_where_its_first_file_is():
    data = romfs.build({"a/x": b"1", "b": b"2", "a/y": b"3"})
    assert list(romfs.read(data)) == ["a/x", "a/y", "b"]
    assert data.count(b"\x01a") == 1


def test_micropython_lists_what_is_built(tmp_path):
    rng = random.Random(3)
    cases = [FILES, {"MANIFEST": b"x"}]
    for _ in range(40):
        names = {"/".join(rng.choices("abcd", k=rng.randrange(1, 9))) for _ in range(9)}
        folders = {name[:at] for name in names for at in range(1, len(name), 2)}
        cases.append({n: rng.randbytes(rng.randrange(300)) for n in sorted(names - folders)})
    built = [romfs.build(files) for files in cases]
    assert listings(built, tmp_path) == cases
    assert [romfs.read(data) for data in built] == cases


def test_padding_is_passed_over(tmp_path):
    padding = record(PADDING, b"anything")
    inside = record(FILE, b"\x01x" + padding + record(DATA, b"content"))
    data = filesystem(padding, folder(b"f", padding, inside, padding), file(b"y", b""), padding)
    assert romfs.read(data) == {"f/x": b"content", "y": b""} == listings([data], tmp_path)[0]


def test_numbers_may_be_somewhat_longer_than_they_need_to_be(tmp_path):
    inside = b"\x01x" + record(DATA, b"content")
    padded = uint(FILE, bytes_before=3) + uint(len(inside), bytes_before=4) + inside
    data = filesystem(padded)
    assert romfs.read(data) == {"x": b"content"} == listings([data], tmp_path)[0]
    longer = uint(FILE, bytes_before=5) + uint(len(inside)) + inside
    with pytest.raises(DamagedImageError, match="cut short or too long"):
        romfs.read(filesystem(longer))


def test_eight_folders_one_in_the_other_are_read_and_names_of_100_characters():
    inside = file(b"x" * 100, b"deep")
    for _ in range(8):
        inside = folder(b"d", inside)
    assert romfs.read(filesystem(inside)) == {"d/" * 8 + "x" * 100: b"deep"}


def test_what_stands_behind_the_romfs_is_not_looked_at():
    data = romfs.build(FILES)
    assert romfs.read(data + b"\x05\xff") == FILES
    assert romfs.size_bytes(data + b"\x05\xff") == len(data)


@pytest.mark.parametrize("fault", hostile_romfs.FAULTS)
def test_each_lie_is_refused_at_the_top_and_in_a_folder(fault):
    rng = random.Random(fault)
    for _ in range(100):
        hostile = getattr(hostile_romfs, fault)(rng)
        for records in ([hostile], [file(b"a", b"b"), hostile], [hostile, file(b"a", b"b")]):
            with pytest.raises(DamagedImageError) as caught:
                romfs.read(filesystem(*records))
            assert "\n" not in str(caught.value)
            with pytest.raises(DamagedImageError):
                romfs.read(filesystem(folder(b"f", *records)))


@pytest.mark.parametrize(
    "records",
    [
        [file(b"a", b"1"), file(b"a", b"2")],
        [file(b"a", b"1"), folder(b"a", file(b"b", b"2"))],
        [folder(b"a"), folder(b"a")],
    ],
)
def test_a_name_that_is_there_twice_is_refused(records):
    with pytest.raises(DamagedImageError, match="a is there twice"):
        romfs.read(filesystem(*records))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xd2\xcd", b"\xd2\xcd\x31", b"\xd2\xcd\x30\x00", b"\xe9" * 64]
    + [b"\xd2\xcd\x31" + uint(length) + bytes(9) for length in (10, 2**20, 2**32)]
    + [b"\xd2\xcd\x31" + b"\x80" * 20],
)
def test_what_is_no_romfs_or_cut_short_is_refused(data):
    for read in (romfs.read, romfs.size_bytes, romfs.first_file):
        with pytest.raises(DamagedImageError):
            read(data)


def test_a_first_record_that_is_no_file_is_refused():
    for first in (record(PADDING, b""), folder(b"MANIFEST", file(b"x", b"y"))):
        with pytest.raises(DamagedImageError, match="first record is not a file"):
            romfs.first_file(filesystem(first, file(b"MANIFEST", b"x")))


def test_a_first_file_whose_data_is_not_right_behind_its_name_is_refused():
    first = record(FILE, b"\x01x" + record(PADDING, b"") + record(DATA, b"content"))
    with pytest.raises(DamagedImageError, match="not where it must be"):
        romfs.first_file(filesystem(first))


def test_a_romfs_cut_at_any_length_is_refused():
    data = romfs.build({name: content[:300] for name, content in FILES.items()})
    for length in range(len(data)):
        with pytest.raises(DamagedImageError):
            romfs.read(data[:length])


def test_random_bytes_never_break_the_reader_and_micropython_agrees_on_what_is_taken(tmp_path):
    rng = random.Random(6)
    data = romfs.build({"a": b"12", "f/b": b"345", "f/g/c": b"6", "d": b""})
    taken = []
    for _ in range(4000):
        mutant = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            mutant[rng.randrange(4, len(mutant))] = rng.choice((0, 1, 2, 3, 4, 5, 0x80, 0x41, 0x62))
        try:
            taken.append((bytes(mutant), romfs.read(bytes(mutant))))
        except DamagedImageError as error:
            assert "\n" not in str(error)
    assert len(taken) > 100
    assert listings([mutant for mutant, _ in taken], tmp_path) == [files for _, files in taken]


def test_names_that_a_board_takes():
    assert all(map(romfs.is_part, ["a", "A-b_c.0", ".a", "...", "a..b", "x" * 100]))
    bad = ["", ".", "..", "a/b", "a b", "ä", "a\n", "a\0", "~", "x" * 101]
    assert not any(map(romfs.is_part, bad))
