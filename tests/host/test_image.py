"""The application image: a built image can be read, and an incomplete one is refused."""

import hashlib
import io
import random
import struct
import tarfile

import hostile_romfs
import pytest
from hostile_romfs import FILE, file, filesystem, folder, record, with_footer
from micropython import listings
from mpota import image
from mpota.errors import CommandError, DamagedImageError
from mpota.image import romfs, trailer

FILES = {"app.mpy": b"M\x06\x00\x1f", "lib/valves.mpy": bytes(range(256)) * 5, "e": b""}
FIELDS = {"name": "garden", "version": "1.4.0", "sequence": 17}


def built(files=None, **fields):
    return image.build(files=FILES if files is None else files, **(FIELDS | fields))


def test_what_is_built_is_read_back():
    data = built()
    found = image.read(data)
    assert found.manifest == image.Manifest("garden", "1.4.0", 17)
    assert found.files == FILES and list(found.files) == sorted(FILES)
    assert found.romfs_bytes == len(data) - 40 and found.romfs_bytes % 4 == 0
    assert found.sha256 == hashlib.sha256(data[:-40]).hexdigest()
    assert found.signature is None


def test_the_bytes_are_the_documented_ones():
    data = built({"a": b"x"})
    text = image.read(data).manifest.text().encode()
    records = record(FILE, b"\x08MANIFEST\x02" + bytes([len(text)]) + text)
    records += record(FILE, b"\x01a\x02\x01x")
    content = b"\xd2\xcd\x31" + bytes([len(records)]) + records
    assert len(content) % 4 == 0
    footer = b"MPOF" + struct.pack("<I", len(content)) + hashlib.sha256(content).digest()
    assert data == content + footer


def test_manifest_comes_first_even_where_a_name_sorts_before_it():
    files = {"A": b"1", ".ota/ota/__init__.mpy": b"2"}
    assert list(romfs.read(built(files))) == ["MANIFEST", ".ota/ota/__init__.mpy", "A"]


def test_the_same_files_give_the_same_bytes():
    assert built() == built(dict(reversed(FILES.items())))
    # Fixed, so that neither another Python nor another day changes an image.
    assert (
        hashlib.sha256(built()).hexdigest()
        == "e9eb33f5cba8f30186ce5fc218273c1ebd71a026f6a943a22902f0c31dd93d9a"
    )


def test_micropython_mounts_an_image_as_it_is(tmp_path):
    files = listings([built()], tmp_path)[0]
    assert files.pop("MANIFEST").startswith(b"mpota 2\n") and files == FILES


@pytest.mark.parametrize("length", range(8))
def test_an_image_is_padded_to_a_multiple_of_4(length):
    data = built({"a": bytes(length)})
    assert len(data) % 4 == 0 and image.read(data).files == {"a": bytes(length)}


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "/app.mpy", "a//b", "a/", "./a", "a/./b", "../a", "a/..", "..", "."),
        *("a b", "a\\b", "a:b", "ä", "a\nb", "a\0b", "a\n", "a" * 101, "a*", "~"),
        *("MANIFEST", "MANIFEST/x"),
    ],
)
def test_a_bad_file_name_is_refused(name):
    with pytest.raises(CommandError, match="rename or exclude"):
        built({name: b"x"})


@pytest.mark.parametrize(
    "name",
    ["lib/MANIFEST", "main.mpy", "ota.keys", ".hidden", "A-b_c.0", "a/.b", "a" * 100]
    + ["a/" * 8 + "b" * 84],
)
def test_a_good_file_name_is_taken(name):
    assert list(image.read(built({name: b"x"})).files) == [name]


def test_more_than_8_folders_one_in_the_other_are_refused():
    with pytest.raises(CommandError, match="too deep: move it up"):
        built({"a/" * 9 + "b": b"x"})


def test_a_file_that_is_also_a_folder_is_refused():
    with pytest.raises(CommandError, match="a is both a file and a folder"):
        built({"a": b"", "a/b": b""})


# The trailer


@pytest.mark.parametrize("length", [128, 256, 512])
def test_a_signature_is_found_behind_the_footer(length):
    found = image.read(trailer.append(built(), b"s" * length))
    assert found.signature == b"s" * length and found.files == FILES


@pytest.mark.parametrize(
    "rest",
    [b"\0", bytes(4), b"\xff" * 300, b"s" * 127 + struct.pack("<I", 127)]
    + [b"s" * 257 + struct.pack("<I", 256), b"s" * 255 + struct.pack("<I", 256)],
)
def test_what_stands_behind_the_footer_must_be_a_signature(rest):
    with pytest.raises(DamagedImageError, match="bytes follow its end"):
        image.read(built() + rest)


# What is not whole


def test_an_image_cut_at_any_length_is_refused():
    data = built()
    for length in range(len(data)):
        with pytest.raises(DamagedImageError):
            image.read(data[:length])


def test_every_flipped_bit_is_found():
    data = trailer.append(built({"app.mpy": bytes(40)}), bytes(128))
    for at in range(len(data) - 132):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            with pytest.raises(DamagedImageError):
                image.read(bytes(flipped))


def test_a_footer_that_does_not_belong_to_the_romfs_is_refused():
    data = built()
    for footer in (b"MPOX" + data[-36:], b"MPOF" + bytes(4) + data[-32:]):
        with pytest.raises(DamagedImageError, match="no footer where its ROMFS ends"):
            image.read(data[:-40] + footer)
    with pytest.raises(DamagedImageError, match="its SHA-256 is not the one"):
        image.read(data[:-32] + bytes(32))


def test_other_bytes_than_zeros_before_the_footer_are_refused():
    data = filesystem(file(b"MANIFEST", hostile_romfs.MANIFEST + b"x yyy\n"))
    assert data[-2:] == b"\0\0" and image.read(with_footer(data))
    with pytest.raises(DamagedImageError, match="other bytes than zeros"):
        image.read(with_footer(data[:-1] + b"\1"))


def test_an_image_whose_first_file_is_not_manifest_is_refused():
    manifest = file(b"MANIFEST", hostile_romfs.MANIFEST)
    for records in ([file(b"a", b""), manifest], [file(b"manifest", hostile_romfs.MANIFEST)]):
        with pytest.raises(DamagedImageError, match="its first file is not MANIFEST"):
            image.read(with_footer(filesystem(*records)))
    for records in ([], [folder(b"x", manifest)], [folder(b"MANIFEST"), manifest]):
        with pytest.raises(DamagedImageError):
            image.read(with_footer(filesystem(*records)))


def test_a_bad_manifest_is_refused():
    with pytest.raises(DamagedImageError, match="MANIFEST does not begin with 'mpota 2'"):
        image.read(with_footer(filesystem(file(b"MANIFEST", b"mpota 3\n"))))


def test_records_that_lie_are_refused_however_right_the_digest_is():
    rng = random.Random(8)
    for _ in range(1500):
        fault, data = hostile_romfs.hostile_image(rng)
        with pytest.raises(DamagedImageError):
            image.read(data)
            pytest.fail(f"taken: {fault}")


def test_a_tar_of_the_format_before_is_told_what_to_do():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in (("MANIFEST", b"mpota 1\nname a\n"), ("app.py", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(image.OldImageError, match="'mpota 1'.* pack the application again"):
        image.read(out.getvalue())
    with pytest.raises(DamagedImageError):
        image.read(out.getvalue().replace(b"mpota 1", b"another"))


def test_what_is_no_image_is_refused():
    for data in (
        b"",
        bytes(1024),
        b"\xe9" * 4096,
        b"\x1f\x8b" * 600,
        random.Random(9).randbytes(99),
    ):
        with pytest.raises(DamagedImageError, match="not a good application image"):
            image.read(data)
