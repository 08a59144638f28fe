"""Data images on the host: `mkdata`, `inspect`, and those that belong to an application."""

import io
import subprocess
import tarfile

import data_files
import pytest
from data_files import FILES, fat_image, littlefs_image, spiffs_image, tar_image
from mpota import image
from mpota.cli import app
from mpota.errors import CommandError, DamagedImageError
from mpota.image import data, signature
from mpota.image.directory import pack_directory
from mpota.image.keys import load_private_key
from openssl_command import test_key
from typer.testing import CliRunner


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def folder(tmp_path):
    """A folder with FILES, and with files that are left out."""
    for name, content in FILES.items() | {(".hidden", b"x"), ("fonts/.DS_Store", b"x")}:
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "files"


# Made, and read


@pytest.mark.parametrize(("name", "kind"), [("data.tar", "tar"), ("data.bin", "littlefs")])
def test_mkdata_makes_what_the_name_asks_for_and_inspect_tells_it(folder, tmp_path, name, kind):
    made = tmp_path / name
    result = run("mkdata", folder, "-o", made)
    assert (result.exit_code, result.stderr) == (0, "")
    size = made.stat().st_size
    assert result.stdout == f"{kind}: {len(FILES)} files, {size} bytes, {made}\n"
    found = data.read(made.read_bytes())
    assert (found.kind, found.files, found.signature) == (kind, FILES, None)
    told = run("inspect", made)
    assert told.exit_code == 0
    assert f"data       {kind}\nSHA-256    {found.sha256}\nsignature  none\n" in told.stdout
    assert "         0 empty\n" in told.stdout and "hidden" not in told.stdout


def test_the_same_files_give_the_same_bytes(folder, tmp_path):
    for kind in (data.TAR, data.LITTLEFS):
        assert data.pack(folder, kind) == data.build(FILES, kind)


def test_tar_reads_what_mkdata_makes(folder, tmp_path):
    run("mkdata", folder, "-o", tmp_path / "data.tar")
    listed = subprocess.run(
        ["tar", "-tf", tmp_path / "data.tar"], capture_output=True, text=True, check=True
    )
    assert sorted(listed.stdout.split()) == sorted(FILES)


def test_a_private_key_in_the_folder_signs(folder, tmp_path):
    key = folder / "private.key"
    key.write_bytes(test_key(2048).read_bytes())
    key.chmod(0o600)
    for name in ("data.tar", "data.bin"):
        result = run("mkdata", folder, "-o", tmp_path / name)
        assert result.exit_code == 0 and f"Signed binary: {tmp_path / name}" in result.stderr
        made = (tmp_path / name).read_bytes()
        found = data.read(made)
        assert found.files == FILES  # the key is not among them
        content = made[: -len(found.signature) - 4]
        assert signature.verify(content, found.signature, load_private_key(key).public_key())
        assert "signature  2048 bits" in run("inspect", tmp_path / name).stdout


def test_a_file_that_no_slot_would_take_is_packed_as_it_is(folder):
    files = {"large.bin": bytes(range(256)) * 800, "editor.py": b"\xef\xbb\xbfx = 1\n"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for kind in (data.TAR, data.LITTLEFS):
        assert data.read(data.pack(folder, kind)).files == FILES | files


def test_a_name_that_says_no_kind_is_refused(folder, tmp_path):
    result = run("mkdata", folder, "-o", tmp_path / "data.img")
    assert result.exit_code == 1
    assert "give a name that ends in .tar, or in .bin for a littlefs" in result.stderr


def test_names_that_a_board_refuses_are_not_packed(folder):
    for name in ("a b", "ä", "x" * 101, "a/b/c/d/e/f/g/h/i/j", ".mpota", ".mpota/x"):
        with pytest.raises(CommandError):
            data.build({name: b""}, data.TAR)
    with pytest.raises(CommandError, match="1001 files are too many"):
        data.build({str(i): b"" for i in range(1001)}, data.TAR)


@pytest.mark.parametrize("name", data_files.images())
def test_images_of_other_tools_are_read(name):
    found = data.read(data_files.images()[name])
    assert (found.kind, found.files) == ("littlefs", FILES)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_other_tools_are_read(kind):
    assert data.read(tar_image(kind=kind)).files == FILES


def test_a_large_littlefs_has_room_for_its_files():
    files = {f"{i}/{j}": bytes([i]) * (j * 3000) for i in range(8) for j in range(12)}
    assert data.read(data.build(files, data.LITTLEFS)).files == files


@pytest.mark.parametrize(("content", "words"), [
    (spiffs_image(), "it is SPIFFS"),
    (spiffs_image(blocks=20, block_bytes=8192)[:2].replace(b"\x01\x80", b"\xff\xff")
     + spiffs_image(blocks=20, block_bytes=8192)[2:], "it is SPIFFS"),
    (fat_image(), "it is a FAT file system"),
    (b"PK\x03\x04" + bytes(500), "it is a zip"),
    (b"\x1f\x8b" + bytes(500), "it is a gzip"),
    (image.build(name="a", version="1", sequence=1, files={}), "it is an application image"),
    (b"<html>", "neither a tar nor a littlefs"),
    (b"", "neither a tar nor a littlefs"),
    (littlefs_image()[:-4096], "cut short, or other bytes follow it"),
    (littlefs_image() + bytes(4096), "cut short, or other bytes follow it"),
    (tar_image()[:700], "damaged tar"),
], ids=["spiffs", "empty spiffs", "fat", "zip", "gzip", "app", "html", "empty", "cut", "more",
        "cut tar"])  # fmt: skip
def test_what_is_no_data_image_is_told_what_it_seems_to_be(content, words):
    with pytest.raises(DamagedImageError, match=words):
        data.read(content)


def test_entries_that_a_board_refuses_are_told():
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as made:
            member = tarfile.TarInfo("a")
            member.type, member.linkname = kind, "b"
            made.addfile(member)
        with pytest.raises(DamagedImageError, match="a in it is not a regular file"):
            data.read(buffer.getvalue())
    with pytest.raises(DamagedImageError, match="does not fit"):
        data.read(tar_image({"../a": b""}))


def test_a_sparse_file_whose_size_is_claimed_alone_is_refused():
    gnu = tarfile.TarInfo("a")
    gnu.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(gnu.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % 1_000_000  # the size with the zeros that are left out
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    pax = tarfile.TarInfo("a")
    pax.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": "1000000"}
    for sparse in (bytes(header), pax.tobuf(tarfile.PAX_FORMAT)):
        with tarfile.open(fileobj=io.BytesIO(sparse + bytes(1024))) as made:
            assert len(made.extractfile("a").read()) == 1_000_000
        with pytest.raises(DamagedImageError, match="a in it is not a regular file"):
            data.read(sparse + bytes(1024))


# With an application


def test_an_application_names_the_data_that_it_is_packed_with(garden, folder, tmp_path):
    made = tmp_path / "x.img"
    result = run("pack", garden, "-o", made, "--data", folder)
    assert result.exit_code == 0, result.stderr
    beside = tmp_path / "x.img.data.tar"
    assert f"its data: {beside.stat().st_size} bytes, {beside}" in result.stdout
    found = data.read(beside.read_bytes())
    manifest = image.read(made.read_bytes()).manifest
    assert found.files == FILES and found.sha256.startswith(manifest.data)
    assert len(manifest.data) == 32
    assert f"data       SHA-256 {manifest.data}…" in run("inspect", made).stdout


def test_both_are_signed_and_the_digest_is_of_the_data_alone(garden, folder, tmp_path):
    key = garden / "private.key"
    key.write_bytes(test_key(2048).read_bytes())
    key.chmod(0o600)
    made = tmp_path / "x.img"
    assert run("pack", garden, "-o", made, "--data", folder).exit_code == 0
    found = data.read((tmp_path / "x.img.data.tar").read_bytes())
    assert found.signature and image.read(made.read_bytes()).signature
    plain = data.build(FILES, data.TAR)
    assert data.digest(plain) == image.read(made.read_bytes()).manifest.data


def test_pyproject_names_the_folder_and_what_is_kept(garden):
    (garden / "files").mkdir()
    (garden / "files" / "a").write_bytes(b"1")
    settings = garden / "pyproject.toml"
    more = 'data = "files"\nkeep = ["settings.json", "cal/*"]\n'
    settings.write_text(settings.read_text() + more)
    packed, made = data.pack_together(garden, None, None)
    assert data.read(made).files == {"a": b"1"}
    assert packed.manifest.keep == ("settings.json", "cal/*")
    assert not any(name.startswith("files/") for name in packed.files)
    assert "keep       settings.json cal/*" in told(packed.data, garden)


def told(content, folder):
    path = folder / "told.img"
    path.write_bytes(content)
    return run("inspect", path).stdout


def test_patterns_that_a_board_would_not_understand_are_refused():
    for keep in (["a b"], ["*x*"], [""], ["ä"], ["?"]):
        with pytest.raises(CommandError, match="in 'keep' does not fit"):
            image.build(name="a", version="1", sequence=1, files={}, keep=keep)
    with pytest.raises(CommandError, match="'keep' is too long"):
        image.build(name="a", version="1", sequence=1, files={}, keep=["x" * 60, "y" * 70])


def test_without_data_an_application_is_packed_as_before(garden):
    packed, made = data.pack_together(garden, None, None)
    assert made is None and packed.data == pack_directory(garden).data
    assert packed.manifest.data is None and packed.manifest.keep == ()
