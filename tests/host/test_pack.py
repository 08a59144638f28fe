"""`mpota pack`: what goes into an image, what stays out, and what is told when it fails."""

import os
import tarfile

import pytest
from application import MAIN, TABLE, names, refusal
from mpota import image
from mpota.cli import app
from mpota.image import signature, trailer
from mpota.image.directory import pack_directory
from mpota.image.keys import load_private_key, load_public_key
from openssl_command import public_key, test_key
from typer.testing import CliRunner

# What goes in


def test_every_file_of_the_directory_goes_in(garden, write):
    write({"lib/valves.py": "x = 1\n", "web/a.html": "<p>", "data.bin": b"\0\xff"})
    packed = pack_directory(garden)
    assert names(packed) == ["app.py", "data.bin", "lib/valves.py", "web/a.html"]
    assert image.read(packed.data) == packed.manifest


def test_keys_and_the_hosts_files_stay_out(garden, write):
    write(dict.fromkeys([".git/config", ".env", "lib/.x", "lib/__pycache__/a.pyc", "b.pyc"], ""))
    write(dict.fromkeys(["private.key", "lib/private.key", "public.key", "a.tar.signed"], ""))
    assert names(pack_directory(garden)) == ["app.py"]


def test_images_made_before_stay_out(garden, write):
    write({"garden-1.3.0.tar": "x", "other.tar": "x"})
    assert names(pack_directory(garden)) == ["app.py", "other.tar"]


def test_what_the_table_excludes_stays_out(garden, write):
    write({"pyproject.toml": TABLE + 'exclude = ["tests/", "*.md", "doc/*.txt"]\n'})
    write(dict.fromkeys(["tests/a.py", "README.md", "lib/b.md", "doc/a.txt", "doc/a.html"], ""))
    assert names(pack_directory(garden)) == ["app.py", "doc/a.html"]


def test_fields_come_from_the_table_and_the_caller_wins(garden):
    manifest = pack_directory(garden, version="2.0.0", sequence=18).manifest
    assert (manifest.name, manifest.version, manifest.sequence) == ("garden", "2.0.0", 18)
    assert (manifest.board, manifest.mpy) == ("esp8266", None)


def test_the_same_directory_gives_the_same_bytes(garden):
    first = pack_directory(garden, mpy=True).data
    os.utime(garden / "app.py", (1, 1))
    assert pack_directory(garden, mpy=True).data == first


def test_links_that_stay_inside_are_followed(garden, write):
    write({"lib/valves.py": "x = 1\n"})
    (garden / "copy.py").symlink_to("lib/valves.py")
    (garden / "more").symlink_to("lib")
    assert names(pack_directory(garden)) == ["app.py", "copy.py", "lib/valves.py", "more/valves.py"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [("/etc/hostname", "out of the directory"), ("nowhere", "nowhere"), (".", "back to itself")],
)
def test_other_links_are_refused(garden, target, reason):
    (garden / "link").symlink_to(target)
    assert reason in refusal(garden)


def test_what_is_no_file_stays_out(garden):
    os.mkfifo(garden / "fifo")
    assert names(pack_directory(garden)) == ["app.py"]


def test_a_name_the_board_cannot_take_is_told(garden, write):
    write({"my file.txt": ""})
    assert "'my file.txt'" in refusal(garden)


def test_a_name_that_the_board_keeps_is_told(garden, write):
    write({"boot.py": ""})
    assert "boot.py has a name that the board keeps" in refusal(garden)


# Settings


@pytest.mark.parametrize("field", ["name", "version", "sequence"])
def test_a_missing_field_is_told_with_where_to_give_it(write, field):
    line = refusal(write({"app.py": MAIN}), **{field: None})
    assert f"--{field}" in line and "[tool.mpota]" in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[tool", "cannot read"),
        ("tool = 3", "cannot read"),
        ("[tool]\nmpota = 3", "cannot read"),
        (b"\xff", "cannot read"),
        ('[tool.mpota]\nnmae = "x"', "'nmae'"),
        ('[tool.mpota]\nsequence = "1"', "'sequence' is to be a number"),
        ("[tool.mpota]\nsequence = true", "'sequence' is to be a number"),
        ("[tool.mpota]\nmpy = 1", "'mpy' is to be true or false"),
        ("[tool.mpota]\nexclude = [1]", "'exclude' is to be a list of strings"),
        ("[tool.mpota]\nexclude = 3", "'exclude' is to be a list of strings"),
        ('[tool.mpota]\nexclude = "x"', "'exclude' is to be a list of strings"),
    ],
)
def test_a_bad_table_is_told(write, text, reason):
    assert reason in refusal(write({"app.py": MAIN, "pyproject.toml": text}))


def test_a_pyproject_without_our_table_is_fine(write):
    directory = write({"app.py": MAIN, "pyproject.toml": "[project]\nname = 'x'\n"})
    assert names(pack_directory(directory, name="a", version="1", sequence=1)) == ["app.py"]


def test_what_is_no_directory_is_told(tmp_path):
    assert "is no directory" in refusal(tmp_path / "nothing")


# The command


def run(*arguments):
    return CliRunner().invoke(app, ["pack", *map(str, arguments)])


def test_the_command_writes_the_image_and_says_what_it_packed(garden, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(garden, "--sequence", 20)
    assert (result.exit_code, result.stderr) == (0, "")
    size = (tmp_path / "garden-1.4.0.tar").stat().st_size
    expected = f"garden 1.4.0, sequence 20: 1 files, {size} bytes, garden-1.4.0.tar\n"
    assert result.stdout == expected
    assert tarfile.is_tarfile(tmp_path / "garden-1.4.0.tar")


def test_the_command_writes_where_it_is_told_to(garden, tmp_path):
    assert run(garden, "-o", tmp_path / "x.tar").exit_code == 0
    assert image.read((tmp_path / "x.tar").read_bytes()) == pack_directory(garden).manifest


def test_the_command_takes_each_field_in_the_place_of_the_tables(garden, tmp_path):
    options = {"--name": "shed", "--version": "2.0.0-rc1", "--sequence": 20}
    for option, value in options.items():
        assert run(garden, "-o", tmp_path / "x.tar", option, value).exit_code == 0
        lines = image.read((tmp_path / "x.tar").read_bytes()).text().splitlines()
        expected = pack_directory(garden).manifest.text().splitlines()
        at = [line.split()[0] for line in expected].index(option.removeprefix("--"))
        expected[at] = f"{option.removeprefix('--')} {value}"
        assert lines == expected


def test_the_command_compiles_when_it_is_asked_to(garden, tmp_path):
    for option, files, mpy in (("--mpy", ["app.mpy"], "6.3"), ("--no-mpy", ["app.py"], None)):
        assert run(garden, "-o", tmp_path / "x.tar", option).exit_code == 0
        manifest = image.read((tmp_path / "x.tar").read_bytes())
        assert ([file.name for file in manifest.files], manifest.mpy) == (files, mpy)


def test_no_mpy_wins_over_the_table(garden, write, tmp_path):
    write({"pyproject.toml": TABLE + "mpy = true\n"})
    for options, name in (((), "app.mpy"), (("--no-mpy",), "app.py")):
        assert run(garden, "-o", tmp_path / "x.tar", *options).exit_code == 0
        assert image.read((tmp_path / "x.tar").read_bytes()).files[0].name == name


def test_an_output_that_cannot_be_written_is_told(garden, tmp_path):
    result = run(garden, "-o", tmp_path / "no" / "x.tar")
    assert result.exit_code == 1 and "cannot write" in result.stderr


def test_a_name_that_is_no_file_name_wants_an_output(garden):
    result = run(garden, "--name", "../../tmp/x")
    assert result.exit_code == 1 and "-o" in result.stderr


def test_downgrade_is_written_only_when_asked_for(garden, tmp_path):
    for options, downgrade in (((), False), (("--allow-downgrade",), True)):
        assert run(garden, "-o", tmp_path / "x.tar", *options).exit_code == 0
        manifest = image.read((tmp_path / "x.tar").read_bytes())
        assert manifest.downgrade == downgrade
        assert ("\ndowngrade yes\n" in manifest.text()) == downgrade


# Signing


@pytest.fixture
def key(garden):
    """Put a private key into the application's folder; give its path."""
    path = garden / "private.key"
    path.write_bytes(test_key(2048).read_bytes())
    path.chmod(0o600)
    return path


def test_an_application_with_a_private_key_is_signed(garden, key, tmp_path):
    unsigned = pack_directory(garden)
    result = run(garden, "-o", tmp_path / "x.tar")
    assert result.exit_code == 0
    assert result.stderr == f"Enabling binary signing\nSigned binary: {tmp_path / 'x.tar'}\n"
    data = (tmp_path / "x.tar").read_bytes()
    assert f" {len(data)} bytes, " in result.stdout
    content, found = trailer.split(data)
    assert content == unsigned.data and not unsigned.signed
    public = load_public_key(public_key(key, tmp_path))
    assert signature.verify(content, found, public)
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert tar.getnames() == ["MANIFEST", "app.py"]


def test_a_caller_can_have_the_image_signed(garden, key):
    packed = pack_directory(garden, private_key=load_private_key(key))
    assert packed.signed and image.read(packed.data) == packed.manifest
    assert trailer.split(packed.data)[0] == pack_directory(garden).data


def test_a_private_key_that_others_can_read_is_warned_of(garden, key, tmp_path):
    key.chmod(0o644)
    result = run(garden, "-o", tmp_path / "x.tar")
    assert result.exit_code == 0
    warning = f"warning: others on this computer can read {key}: chmod 600 {key}\n"
    assert result.stderr.startswith(warning)


def test_a_broken_private_key_is_told_and_nothing_is_written(garden, key, tmp_path):
    key.write_text("no key")
    result = run(garden, "-o", tmp_path / "x.tar")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {key} is no good private key")
    assert not (tmp_path / "x.tar").exists()
