"""`mpota pack`: what goes into an image, what stays out, and what is told when it fails."""

import os

import pytest
from application import MAIN, TABLE, names, refusal
from mpota import image
from mpota.board.files import device_root
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
    assert names(packed) == ["app.mpy", "data.bin", "lib/valves.mpy", "web/a.html"]
    found = image.read(packed.data)
    assert (found.manifest, found.files) == (packed.manifest, packed.files)
    assert not packed.signed and not packed.warnings


def test_keys_and_the_hosts_files_stay_out(garden, write):
    write(dict.fromkeys([".git/config", ".env", "lib/.x", "lib/__pycache__/a.pyc", "b.pyc"], ""))
    write(dict.fromkeys(["private.key", "lib/private.key", "public.key", "a.img.signed"], ""))
    assert names(pack_directory(garden)) == ["app.mpy"]


def test_images_made_before_stay_out(garden, write):
    write({"garden-1.3.0.img": "x", "other.img": "x"})
    assert names(pack_directory(garden)) == ["app.mpy", "other.img"]


def test_what_the_table_excludes_stays_out(garden, write):
    write({"pyproject.toml": TABLE + 'exclude = ["tests/", "*.md", "doc/*.txt"]\n'})
    write(dict.fromkeys(["tests/a.py", "README.md", "lib/b.md", "doc/a.txt", "doc/a.html"], ""))
    assert names(pack_directory(garden)) == ["app.mpy", "doc/a.html"]


def test_fields_come_from_the_table_and_the_caller_wins(garden):
    manifest = pack_directory(garden, version="2.0.0", sequence=18).manifest
    assert (manifest.name, manifest.version, manifest.sequence) == ("garden", "2.0.0", 18)
    assert (manifest.board, manifest.mpy) == ("esp8266", "6.3")


def test_the_same_directory_gives_the_same_bytes(garden):
    first = pack_directory(garden).data
    os.utime(garden / "app.py", (1, 1))
    assert pack_directory(garden).data == first


def test_links_that_stay_inside_are_followed(garden, write):
    write({"lib/valves.py": "x = 1\n"})
    (garden / "copy.py").symlink_to("lib/valves.py")
    (garden / "more").symlink_to("lib")
    assert names(pack_directory(garden)) == [
        "app.mpy",
        "copy.mpy",
        "lib/valves.mpy",
        "more/valves.mpy",
    ]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/hostname", "out of the directory"),
        ("nowhere", "nowhere"),
        (".", "folder that contains it"),
    ],
)
def test_other_links_are_refused(garden, target, reason):
    (garden / "link").symlink_to(target)
    assert reason in refusal(garden)


def test_what_is_no_file_stays_out(garden):
    os.mkfifo(garden / "fifo")
    assert names(pack_directory(garden)) == ["app.mpy"]


def test_a_name_the_board_cannot_take_is_told(garden, write):
    write({"my file.txt": ""})
    assert "'my file.txt'" in refusal(garden)


def test_a_name_that_mpota_keeps_is_told(garden, write):
    write({"MANIFEST": ""})
    assert "the file name MANIFEST is reserved for mpota" in refusal(garden)


def test_keys_that_a_release_brings_go_in(garden, write):
    write({"ota.keys": b"MPKY"})
    assert image.read(pack_directory(garden).data).files["ota.keys"] == b"MPKY"


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
        ("[tool.mpota]\nmpy = true", "'mpy' under [tool.mpota]: the keys are name, version, "),
        ("[tool.mpota]\nname = 1", "'name' must be a string, e.g. name = "),
        ("[tool.mpota]\nversion = 1.4", "'version' must be a string, e.g. version = "),
        ('[tool.mpota]\nsequence = "1"', "'sequence' must be a number, e.g. sequence = 1"),
        ("[tool.mpota]\nsequence = true", "'sequence' must be a number"),
        ("[tool.mpota]\nexclude = [1]", "'exclude' must be a list of strings"),
        ("[tool.mpota]\nexclude = 3", "'exclude' must be a list of strings"),
        ('[tool.mpota]\nexclude = "x"', "'exclude' must be a list of strings"),
    ],
)
def test_a_bad_table_is_told(write, text, reason):
    assert reason in refusal(write({"app.py": MAIN, "pyproject.toml": text}))


def test_a_table_may_begin_with_a_byte_order_mark(garden, write):
    write({"pyproject.toml": b"\xef\xbb\xbf" + TABLE.encode()})
    assert pack_directory(garden).manifest.sequence == 17


def test_folders_of_the_hosts_tools_are_left_out_with_a_warning(garden, write):
    write({"venv/pyvenv.cfg": "", "venv/lib/a.py": "print 5", "web/node_modules/b/c.js": "x"})
    packed = pack_directory(garden)
    assert names(packed) == ["app.mpy"]
    assert packed.warnings == [
        "warning: the folder venv is left out, since it is a virtual environment of Python: "
        "exclude it",
        "warning: the folder web/node_modules is left out, since it is JavaScript's packages: "
        "exclude it",
    ]
    write({"pyproject.toml": TABLE + 'exclude = ["venv", "node_modules"]\n'})
    assert not pack_directory(garden).warnings


def test_a_file_that_no_slot_could_hold_is_named(garden, write):
    write({"film.bin": bytes(3_000_000)})
    line = refusal(garden)
    assert "film.bin has 3000000 bytes and a slot takes 102144: exclude it" in line


def test_a_pyproject_without_our_table_is_fine(write):
    directory = write({"app.py": MAIN, "pyproject.toml": "[project]\nname = 'x'\n"})
    assert names(pack_directory(directory, name="a", version="1", sequence=1)) == ["app.mpy"]


def test_what_is_no_directory_is_told(tmp_path):
    assert "is not a directory" in refusal(tmp_path / "nothing")


# The command


def run(*arguments):
    return CliRunner().invoke(app, ["pack", *map(str, arguments)])


def test_the_command_writes_the_image_and_says_what_it_packed(garden, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(garden, "--sequence", 20)
    assert (result.exit_code, result.stderr) == (0, "")
    data = (tmp_path / "garden-1.4.0.img").read_bytes()
    assert result.stdout == (
        f"garden 1.4.0, sequence 20: 1 files, {len(data)} bytes, garden-1.4.0.img\n"
        f"a slot takes 102144 bytes, {102144 - len(data)} are left\n"
    )
    assert list(image.read(data).files) == ["app.mpy"]


def test_the_command_writes_where_it_is_told_to(garden, tmp_path):
    assert run(garden, "-o", tmp_path / "x.img").exit_code == 0
    assert (tmp_path / "x.img").read_bytes() == pack_directory(garden).data


def test_the_command_takes_each_field_in_the_place_of_the_tables(garden, tmp_path):
    options = {"--name": "shed", "--version": "2.0.0-rc1", "--sequence": 20}
    for option, value in options.items():
        assert run(garden, "-o", tmp_path / "x.img", option, value).exit_code == 0
        lines = image.read((tmp_path / "x.img").read_bytes()).manifest.text().splitlines()
        expected = pack_directory(garden).manifest.text().splitlines()
        at = [line.split()[0] for line in expected].index(option.removeprefix("--"))
        expected[at] = f"{option.removeprefix('--')} {value}"
        assert lines == expected


@pytest.mark.parametrize("option", [(), ("-o", "other.img")], ids=["default", "output"])
def test_a_changed_release_with_the_sequence_of_the_last_one_is_told(
    garden, write, tmp_path, monkeypatch, option
):
    monkeypatch.chdir(tmp_path)
    assert run(garden, *option).stderr == ""
    assert run(garden, *option).stderr == ""  # nothing has changed
    write({"data.txt": "new"})
    told = run(garden, *option)
    assert told.exit_code == 0
    image_file = option[1] if option else "garden-1.4.0.img"
    assert told.stderr.startswith(
        f"warning: {image_file} had the same sequence, 17, and other content: "
    )
    assert run(garden, "--sequence", 18, *option).stderr == ""


def test_another_version_for_people_does_not_make_it_another_release(garden, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(garden)
    assert (
        "warning: garden-1.4.0.img had the same sequence, 17"
        in run(garden, "--version", "2.0").stderr
    )


def test_an_output_that_cannot_be_written_is_told(garden, tmp_path):
    result = run(garden, "-o", tmp_path / "no" / "x.img")
    assert result.exit_code == 1 and "cannot write" in result.stderr


def test_a_name_that_is_no_file_name_wants_an_output(garden):
    result = run(garden, "--name", "../../tmp/x")
    assert result.exit_code == 1 and "-o" in result.stderr


def test_downgrade_is_written_only_when_asked_for(garden, tmp_path):
    for options, downgrade in (((), False), (("--allow-downgrade",), True)):
        assert run(garden, "-o", tmp_path / "x.img", *options).exit_code == 0
        manifest = image.read((tmp_path / "x.img").read_bytes()).manifest
        assert manifest.downgrade == downgrade
        assert ("\ndowngrade yes\n" in manifest.text()) == downgrade


def test_a_warning_is_shown_and_the_image_written(garden, write, tmp_path):
    write({"lib/time.py": ""})
    result = run(garden, "-o", tmp_path / "x.img")
    assert result.exit_code == 0 and (tmp_path / "x.img").exists()
    assert result.stderr.startswith("warning: lib/time.py takes the place of MicroPython's own")


# Size


def filled(garden, write, size, private_key=None):
    """Let an image have that many bytes, by a file of 1 byte or more."""
    write({"data.bin": b"x" * 80_000})
    padding = size - len(pack_directory(garden, private_key=private_key).data)
    write({"data.bin": b"x" * (80_000 + padding)})


@pytest.mark.parametrize("signed", [False, True])
def test_an_image_may_fill_a_slot_and_not_exceed_it(garden, write, signed):
    key = load_private_key(test_key(2048)) if signed else None
    filled(garden, write, 102_144, key)
    assert len(pack_directory(garden, private_key=key).data) == 102_144
    filled(garden, write, 102_148, key)
    line = refusal(garden, name=None, version=None, sequence=None, private_key=key)
    assert "the image has 102148 bytes and a slot takes 102144" in line
    assert "/data" in line and "the largest file is data.bin" in line


def test_an_image_that_is_too_large_is_not_written(garden, write, tmp_path):
    write({"data.bin": bytes(200_000)})
    assert run(garden, "-o", tmp_path / "x.img").exit_code == 1
    assert not (tmp_path / "x.img").exists()


# The package


def test_with_ota_brings_this_versions_package(garden, tmp_path):
    without = pack_directory(garden)
    done = run(garden, "-o", tmp_path / "x.img", "--with-ota", "--without", "pull")
    assert done.exit_code == 0, done.stderr
    files = image.read((tmp_path / "x.img").read_bytes()).files
    brought = {name for name in files if name.startswith(".ota/")}
    sources = {
        f".ota/{path.relative_to(device_root() / 'lib').with_suffix('.mpy').as_posix()}"
        for path in (device_root() / "lib" / "ota").rglob("*.py")
    }
    left_out = (".ota/ota/pull/", ".ota/ota/ddi/")  # what asks hawkBit is built on the pull client
    sources = {name for name in sources if not name.startswith(left_out)}
    assert brought == sources | {".ota/ota/web/page.html.gz"}
    assert ".ota/ota/__init__.mpy" in brought
    assert {name: files[name] for name in files.keys() - brought} == without.files
    # The path that the board imports it from, as tracebacks show it.
    assert b"/app/.ota/ota/__init__.mpy" in files[".ota/ota/__init__.mpy"]


def test_with_ota_services_may_be_left_out_and_an_image_that_is_too_large_says_so(garden, tmp_path):
    image_file = tmp_path / "x.img"
    (garden / "large.bin").write_bytes(bytes(90_000))
    failed = run(garden, "-o", image_file, "--with-ota")
    assert failed.exit_code == 1 and not image_file.exists()
    assert "the update services take" in failed.stderr and "--without web (" in failed.stderr
    (garden / "large.bin").unlink()
    done = run(garden, "-o", image_file, "--with-ota", "--without", "web", "--without", "pull")
    assert done.exit_code == 0, done.stderr
    brought = {n for n in image.read(image_file.read_bytes()).files if n.startswith(".ota/")}
    assert not {n for n in brought if n.startswith((".ota/ota/web/", ".ota/ota/pull/"))}
    assert {".ota/ota/http.mpy", ".ota/ota/arduino/session.mpy"} <= brought
    for wrong in (["--without", "web"], ["--with-ota", "--without", "arduino"]):
        failed = run(garden, "-o", image_file, *wrong)
        assert failed.exit_code == 1
        assert "--without web or pull or ddi or mdns or data" in failed.stderr


# Signing


@pytest.fixture
def key(garden):
    """Put a private key into the application's folder; return its path."""
    path = garden / "private.key"
    path.write_bytes(test_key(2048).read_bytes())
    path.chmod(0o600)
    return path


def test_an_application_with_a_private_key_is_signed(garden, key, tmp_path):
    unsigned = pack_directory(garden)
    result = run(garden, "-o", tmp_path / "x.img")
    assert result.exit_code == 0
    assert result.stderr == f"Enabling binary signing\nSigned binary: {tmp_path / 'x.img'}\n"
    data = (tmp_path / "x.img").read_bytes()
    assert f" {len(data)} bytes, " in result.stdout
    content, found = trailer.split(data)
    assert content == unsigned.data and not unsigned.signed
    public = load_public_key(public_key(key, tmp_path))
    assert signature.verify(content, found, public)
    assert list(image.read(data).files) == ["app.mpy"]


def test_a_caller_can_have_the_image_signed(garden, key):
    packed = pack_directory(garden, private_key=load_private_key(key))
    assert packed.signed and image.read(packed.data).manifest == packed.manifest
    assert trailer.split(packed.data)[0] == pack_directory(garden).data


def test_a_private_key_that_others_can_read_is_warned_of(garden, key, tmp_path):
    key.chmod(0o644)
    result = run(garden, "-o", tmp_path / "x.img")
    assert result.exit_code == 0
    warning = f"warning: others on this computer can read {key}: chmod 600 {key}\n"
    assert result.stderr.startswith(warning)


def test_a_broken_private_key_is_told_and_nothing_is_written(garden, key, tmp_path):
    key.write_text("no key")
    result = run(garden, "-o", tmp_path / "x.img")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {key} is not a valid private key")
    assert not (tmp_path / "x.img").exists()
