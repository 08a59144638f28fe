"""The application image: what is built can be read by any tar, and nothing else is taken."""

import hashlib
import io
import random
import tarfile

import pytest
from mpota import image
from mpota.errors import CommandError
from mpota.image import ustar

FILES = {"app.py": b"def main(ota):\n    pass\n", "lib/valves.py": bytes(range(256)) * 5, "e": b""}
FIELDS = {"name": "garden", "version": "1.4.0", "sequence": 17}


def built(files=None, **fields):
    return image.build(files=FILES if files is None else files, **(FIELDS | fields))


def test_a_manifest_reads_back_as_it_was_written():
    manifest = image.Manifest("garden", "1.4.0", 17, "esp8266", "6.3", [])
    manifest.files.append(image.File(3, hashlib.sha256(b"abc").hexdigest(), "lib/a.mpy"))
    assert image.Manifest.parse(manifest.text()) == manifest


def test_the_manifest_has_the_documented_lines():
    digest = hashlib.sha256(FILES["app.py"]).hexdigest()
    assert image.read(built({"app.py": FILES["app.py"]}, mpy="6.3")).text() == (
        "mpota 1\nname garden\nversion 1.4.0\nsequence 17\nboard esp8266\nmpy 6.3\n"
        f"file {len(FILES['app.py'])} {digest} app.py\n"
    )


def test_downgrade_is_a_line_before_the_files():
    manifest = image.read(built(mpy="6.3", downgrade=True))
    assert manifest.downgrade and "\nmpy 6.3\ndowngrade yes\nfile " in manifest.text()


@pytest.mark.parametrize("value", ["no", "YES", "y"])
def test_another_word_for_downgrade_says_nothing(value):
    text = image.read(built(downgrade=True)).text()
    manifest = image.Manifest.parse(text.replace("downgrade yes", f"downgrade {value}"))
    assert manifest == image.read(built())


def test_an_image_need_not_say_which_board_it_is_for():
    text = image.read(built()).text()
    manifest = image.Manifest.parse(text.replace("board esp8266\n", ""))
    assert manifest.board is None and manifest.files == image.read(built()).files
    assert manifest.text() == text.replace("board esp8266\n", "")


def test_words_that_pack_would_not_write_and_a_board_takes_are_read():
    long = "~" * 200
    lines = [f"name {long}", f"version {long}", "sequence 0000000001", "board *", "mpy six"]
    manifest = image.Manifest.parse("\n".join(["mpota 1", *lines, FILE]))
    assert (manifest.name, manifest.version, manifest.sequence) == (long, long, 1)
    assert (manifest.board, manifest.mpy) == ("*", "six")


def test_any_tar_lists_the_image_with_manifest_first_and_sorted_names():
    with tarfile.open(fileobj=io.BytesIO(built()), mode="r:") as tar:
        members = tar.getmembers()
        assert [m.name for m in members] == ["MANIFEST", "app.py", "e", "lib/valves.py"]
        assert all(m.isreg() and m.mode == 0o644 for m in members)
        assert {(m.uid, m.gid, m.mtime, m.uname) for m in members} == {(0, 0, 0, "")}
        assert all(tar.extractfile(m).read() == FILES[m.name] for m in members[1:])


def test_the_same_files_give_the_same_bytes():
    assert built() == built(dict(reversed(FILES.items())))
    # Fixed, so that neither another Python nor another day changes an image.
    assert (
        hashlib.sha256(built()).hexdigest()
        == "93056dbae421e26d30e0f166a5677f367969084c0af03fa80c61706963bc70ba"
    )


def test_the_image_is_ustar_and_ends_after_two_zero_blocks():
    data = built({"app.py": b"x"})
    assert data[:9] == b"MANIFEST\0" and data[257:265] == b"ustar\x0000"
    assert len(data) == 6 * 512 and not any(data[-1024:]) and any(data[-1536:-1024])


def test_a_file_name_may_have_100_characters():
    name = "a/" * 7 + "b" * 86
    assert image.read(built({name: b"x"})).files[0].name == name


def test_a_file_name_of_more_than_8_parts_is_refused():
    with pytest.raises(CommandError, match="too deep: move it up"):
        built({"a/" * 8 + "b": b"x"})


def test_an_ordinary_tar_with_a_good_manifest_is_read():
    contents = {"MANIFEST": image.read(built()).text().encode(), **dict(sorted(FILES.items()))}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname = len(content), 1_700_000_000, "me"
            tar.addfile(member, io.BytesIO(content))
    assert image.read(out.getvalue()) == image.read(built())


def test_a_signature_behind_the_end_is_not_looked_at():
    assert image.read(built() + b"signature" * 30) == image.read(built())


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "/app.py", "a//b", "a/", "./a", "a/./b", "../a", "a/..", "..", "."),
        *("a b", "a\\b", "a:b", "ä", "a\nb", "a\0b", "a\n", "a" * 101, "a*", "~"),
        *("boot.py", "main.py", "ota.json", ".ota", ".ota/x", "MANIFEST", "main.py/x"),
    ],
)
def test_a_bad_file_name_is_refused(name):
    with pytest.raises(CommandError, match="rename or exclude"):
        built({name: b"x"})


@pytest.mark.parametrize(
    "name", ["lib/boot.py", "lib/main.py", ".hidden", "A-b_c.0", "a..b", "a/.b"]
)
def test_a_good_file_name_is_taken(name):
    assert image.read(built({name: b"x"})).files[0].name == name


def test_a_file_that_is_also_a_directory_is_refused():
    with pytest.raises(CommandError, match="twice"):
        built({"a": b"", "a/b": b""})


@pytest.mark.parametrize(
    "fields",
    [
        *({"name": name} for name in ("", "a b", "ä", "a" * 33, "a\nsequence 9")),
        *({"version": version} for version in ("", "1 0", "1\n", "1" * 33)),
        *({"sequence": sequence} for sequence in (0, -1, 2**30)),
        *({"mpy": mpy} for mpy in ("", "6", "6.3\n", "x.y")),
        {"board": "esp 8266"},
    ],
)
def test_a_bad_field_is_refused(fields):
    with pytest.raises(CommandError, match="does not fit"):
        built(**fields)


def test_the_limits_themselves_are_taken():
    image.read(built(name="n" * 32, version="~" * 32, sequence=2**30 - 1))
    image.read(built({f"f{n}": b"" for n in range(256)}))


def test_more_than_256_files_are_refused():
    with pytest.raises(CommandError, match="257 files"):
        built({f"f{n}": b"" for n in range(257)})


GOOD = "mpota 1\nname a\nversion 1\nsequence 1\nboard esp8266\n"
FILE = f"file 1 {'0' * 64} a\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "newline"),
        (GOOD[:-1], "newline"),
        *((GOOD + line + "\n", "no plain ASCII") for line in ("name ä", "x \x7f", "x\t", "")),
        (GOOD.replace("mpota 1", "mpota 2"), "begin"),
        (GOOD.replace("name a\n", ""), "no 'name' line"),
        (GOOD, "no 'file' line"),
        (GOOD + "name b\n", "two 'name' lines"),
        *((GOOD + line + "\n", "one word") for line in ("mpy", "mpy ", "mpy  6.3", "mpy 6.3 ")),
        (GOOD + "downgrade yes yes\n", "'downgrade' line does not have one word"),
        (GOOD.replace("sequence 1", "sequence -1") + FILE, "not a number"),
        (GOOD.replace("sequence 1", "sequence 00000000001") + FILE, "not a number"),
        (GOOD.replace("sequence 1", "sequence 0") + FILE, "not from 1 to 1073741823"),
        (GOOD.replace("sequence 1", "sequence 1073741824") + FILE, "not from 1 to"),
        (GOOD + "file 1 abc a\n", "'file' line"),
        (GOOD + FILE.replace("file 1", "file 1x"), "'file' line"),
        (GOOD + FILE.replace("file 1", "file  1"), "'file' line"),
        (GOOD + FILE.replace("file 1", "file 01"), "'file' line"),
        (GOOD + FILE.replace("0" * 64, "A" * 64), "'file' line"),
        (GOOD + FILE + FILE, "twice"),
        (GOOD + FILE.replace(" a", " ../a"), "rename"),
        (GOOD + "x" * 256 + "\n", "longer than 256"),
        (GOOD + "x\n" * 40_000, "longer than 65536"),
    ],
)
def test_a_bad_manifest_is_refused(text, reason):
    with pytest.raises(CommandError, match=reason):
        image.Manifest.parse(text)


def test_unknown_keys_and_a_line_of_256_bytes_are_passed_over():
    text = GOOD + "colour green\n" + "x" * 255 + "\n" + FILE
    assert [file.name for file in image.Manifest.parse(text).files] == ["a"]


def test_an_image_cut_at_any_length_is_refused():
    data = built()
    for length in range(len(data)):
        with pytest.raises(CommandError):
            image.read(data[:length])


def test_a_flipped_bit_never_changes_a_file():
    data, rng = built(), random.Random(5)
    good = image.read(data)
    text = range(512, 512 + len(good.text()))  # of MANIFEST, which only the upload's digest covers
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << rng.randrange(8)
        try:
            manifest = image.read(bytes(flipped))
        except CommandError as error:
            assert "\n" not in str(error)
        else:
            assert manifest.files == good.files, at
            assert manifest == good or at in text, at


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_what_is_no_regular_file_is_refused(kind):
    member = tarfile.TarInfo("app.py")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(CommandError, match="no regular file"):
        image.read(_after_manifest(member.tobuf(tarfile.USTAR_FORMAT)))


def test_a_size_that_begins_with_a_space_is_refused():
    member = bytearray(ustar.member("app.py", b""))
    member[124:136] = b"          0\0"
    member[148:156] = b" " * 8
    member[148:156] = b"%06o\0 " % sum(member)
    with pytest.raises(CommandError, match="no regular file"):
        image.read(_after_manifest(bytes(member)))


def test_a_tar_without_manifest_and_what_is_no_tar_is_refused():
    plain = tarfile.TarInfo("app.py").tobuf(tarfile.USTAR_FORMAT) + bytes(1024)
    for data in (plain, bytes(1024), b"", b"\xe9" * 4096, b"\x1f\x8b" * 600):
        with pytest.raises(CommandError, match="not a good application image"):
            image.read(data)


def test_a_file_that_is_not_listed_or_missing_is_refused():
    extra = tarfile.TarInfo("zz").tobuf(tarfile.USTAR_FORMAT)
    with pytest.raises(CommandError, match="'zz' is not where"):
        image.read(built()[:-1024] + extra + bytes(1024))
    with pytest.raises(CommandError, match="app.py is missing"):
        image.read(_after_manifest(b""))


def _after_manifest(members: bytes) -> bytes:
    """Give the good image's MANIFEST, with other members behind it."""
    return built()[:1024] + members + bytes(1024)


def test_random_bytes_never_break_the_reader():
    rng, data = random.Random(6), built()
    for _ in range(2000):
        mutant = bytearray(data)
        for _ in range(rng.randrange(1, 9)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        for candidate in (bytes(mutant), rng.randbytes(rng.randrange(2000))):
            try:
                image.read(candidate)
            except CommandError as error:
                assert "\n" not in str(error)


def test_random_manifests_never_break_the_parser():
    rng = random.Random(7)
    pieces = [*GOOD.splitlines(True), FILE, "file ", "mpy 6.3\n", "\n", " ", "\x00", "9", "é", "/"]
    for _ in range(5000):
        try:
            image.Manifest.parse("".join(rng.choices(pieces, k=rng.randrange(12))))
        except CommandError as error:
            assert "\n" not in str(error)
