"""`mpota sign` replaces Arduino's signing.py: the same options, and the same lines."""

import hashlib
import struct

import pytest
from mpota.cli import app
from openssl_command import openssl, public_key, test_key
from typer.testing import CliRunner

KEY = test_key(2048)
BINARY = bytes(range(256)) * 20


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with a binary, and with a key that nobody else can read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.bin").write_bytes(BINARY)
    (tmp_path / "private.key").write_bytes(KEY.read_bytes())
    (tmp_path / "private.key").chmod(0o600)
    public_key(KEY, tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["sign", *arguments])


def run_line(line):
    return run(*line.split())


def sign(*more, key="private.key", binary="a.bin", out="a.signed"):
    return run("--mode", "sign", "--privatekey", key, "--bin", binary, "--out", out, *more)


def header(*more, key="public.key", out="Updater_Signing.h"):
    return run("--mode", "header", "--publickey", key, "--out", out, *more)


def test_the_binary_is_signed_as_openssl_signs(folder):
    result = sign()
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "Signed binary: a.signed\n"
    theirs = openssl("dgst", "-sha256", "-sign", KEY, stdin=BINARY)
    assert (folder / "a.signed").read_bytes() == BINARY + theirs + struct.pack("<L", 256)


def test_the_legacy_form_goes_into_a_file_of_its_own(folder):
    result = sign("--legacy", "a.legacy")
    assert result.stderr == "Signed binary: a.signed\nLegacy signed binary: a.legacy\n"
    digest = hashlib.sha256(BINARY).digest()
    theirs = openssl("rsautl", "-sign", "-inkey", KEY, stdin=digest)
    assert (folder / "a.legacy").read_bytes() == BINARY + theirs + struct.pack("<L", 256)


def test_the_short_options_are_those_of_signing_py(folder):
    result = run_line("-m sign -s private.key -b a.bin -o b.signed -l b.legacy")
    assert result.exit_code == 0
    assert (folder / "b.signed").is_file() and (folder / "b.legacy").is_file()
    assert run_line("-m header -p public.key -o b.h").exit_code == 0


def test_to_sign_is_what_it_does_without_a_mode(folder):
    assert run_line("-s private.key -b a.bin -o b.signed").exit_code == 0
    assert (folder / "b.signed").is_file()


def test_a_build_without_a_key_is_not_signed_and_goes_on(folder):
    result = sign("--arduino", key="no.key")
    assert (result.exit_code, result.output) == (0, "")
    assert not (folder / "a.signed").exists()


@pytest.mark.parametrize(
    "files", [{"key": "no.key"}, {"binary": "no.bin"}, {"out": "no/a.signed"}], ids=str
)
def test_what_is_not_signed_ends_with_status_1(folder, files):
    result = sign(**files)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert next(iter(files.values())) in result.stderr
    assert not (folder / "a.signed").exists()


def test_a_header_without_a_key_ends_with_status_1(folder):
    result = header(key="no.key")
    assert result.exit_code == 1 and "no.key" in result.stderr
    assert not (folder / "Updater_Signing.h").exists()


@pytest.mark.parametrize("files", [{"binary": "no.bin"}, {"out": "no/a.signed"}])
def test_a_file_that_cannot_be_had_is_said_and_the_build_goes_on(folder, files):
    result = sign("--arduino", **files)
    assert result.exit_code == 0
    path = next(iter(files.values()))
    assert result.stderr == (
        f"cannot sign: {path}: No such file or directory\nNot signing the generated binary\n"
    )


def test_a_broken_key_is_told_and_fails(folder):
    (folder / "private.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    result = sign()
    assert result.exit_code == 1 and "is not a valid private key" in result.stderr
    assert not (folder / "a.signed").exists()


def test_a_key_that_others_can_read_is_warned_of_and_used(folder):
    (folder / "private.key").chmod(0o644)
    result = sign()
    assert result.exit_code == 0
    assert result.stderr == (
        "warning: others on this computer can read private.key: chmod 600 private.key\n"
        "Signed binary: a.signed\n"
    )


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("-m sign -b a.bin -o b", "--privatekey"),
        ("-m sign -s private.key -o b", "--bin"),
        ("-m sign -s private.key -b a.bin", "--out"),
        ("-m header -o b", "--publickey"),
        ("-m header -p public.key", "--out"),
    ],
)
def test_a_missing_option_is_told(arguments, option):
    result = run_line(arguments)
    assert result.exit_code == 1 and f"error: no {option} is given" in result.stderr


def test_a_wrong_mode_is_status_2():
    assert run("--mode", "both").exit_code == 2


# The header


def test_the_header_has_the_bytes_of_the_public_key(folder):
    result = header(out="deep/er/Updater_Signing.h")
    assert (result.exit_code, result.stderr) == (0, "Enabling binary signing\n")
    text = (folder / "deep" / "er" / "Updater_Signing.h").read_text()
    lines = text.split("\n")
    assert lines[:3] == [
        "#include <pgmspace.h>",
        "#define ARDUINO_SIGNING 1",
        "static const char signing_pubkey[] PROGMEM = {",
    ]
    assert lines[-2:] == ["};", ""]
    body = lines[3:-2]
    assert all(len(line) == 6 and line.endswith(", ") for line in body[:-1])
    numbers = bytes(int(number, 16) for number in "".join(body).split(", "))
    assert numbers == (folder / "public.key").read_bytes()


def test_the_header_without_a_key_turns_signing_off_silently(folder):
    result = header("--arduino", key="no.key")
    assert (result.exit_code, result.output) == (0, "")
    assert (folder / "Updater_Signing.h").read_text() == "#define ARDUINO_SIGNING 0\n"


def test_a_header_that_is_up_to_date_is_left_alone(folder):
    path = folder / "Updater_Signing.h"
    header()
    before = path.stat().st_mtime_ns
    header()
    assert path.stat().st_mtime_ns == before
    header("--arduino", key="no.key")
    assert "SIGNING 0" in path.read_text()


def test_a_private_key_never_gets_into_a_header(folder):
    result = header(key="private.key")
    assert result.exit_code == 1 and "is a private key" in result.stderr
    assert not (folder / "Updater_Signing.h").exists()


def test_a_header_that_cannot_be_written_is_told(folder):
    (folder / "file").touch()
    result = header(out="file/a.h")
    assert result.exit_code == 1 and "error: cannot write file/a.h" in result.stderr
