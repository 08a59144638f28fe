"""`mpota keygen`: keys as openssl makes them, readable only by their owner."""

import os
import stat

import pytest
from mpota.cli import app, keygen
from mpota.image.keys import load_private_key, load_public_key
from openssl_command import openssl
from typer.testing import CliRunner


def run(*arguments):
    return CliRunner().invoke(app, ["keygen", *map(str, arguments)])


@pytest.mark.parametrize("bits", [1024, 1032, 2048, 4096])
def test_openssl_finds_the_keys_good_and_writes_the_same_bytes(tmp_path, bits):
    assert run("--bits", bits, "-o", tmp_path).exit_code == 0
    private, public = tmp_path / "private.key", tmp_path / "public.key"
    assert openssl("rsa", "-in", private, "-check", "-noout") == b"RSA key ok\n"
    assert openssl("rsa", "-in", private) == private.read_bytes()
    assert openssl("rsa", "-in", private, "-pubout") == public.read_bytes()
    text = openssl("rsa", "-in", private, "-noout", "-text").decode()
    assert f"({bits} bit" in text and "publicExponent: 65537 " in text


def test_the_tool_itself_reads_its_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run().exit_code == 0
    key = load_private_key(tmp_path / "private.key")
    assert key.key_size == 2048
    assert key.public_key() == load_public_key(tmp_path / "public.key")


def test_only_the_owner_can_read_the_private_key_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        assert run("--bits", 1024, "-o", tmp_path).exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "public.key").stat().st_mode) == 0o644


def test_the_private_key_is_never_there_with_another_mode(tmp_path, monkeypatch):
    opened = []

    def spy(path, flags, mode):
        opened.append((os.path.basename(path), flags, mode))  # noqa: PTH119
        return real(path, flags, mode)

    real = os.open
    monkeypatch.setattr(keygen.os, "open", spy)
    assert run("--bits", 1024, "-o", tmp_path).exit_code == 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    assert ("private.key", flags, 0o600) in opened


def test_a_folder_is_made(tmp_path):
    assert run("--bits", 1024, "-o", tmp_path / "a" / "b").exit_code == 0
    assert (tmp_path / "a" / "b" / "private.key").is_file()


@pytest.mark.parametrize("name", ["private.key", "public.key"])
@pytest.mark.parametrize("link", [False, True])
def test_neither_key_is_ever_overwritten(tmp_path, name, link):
    path = tmp_path / name
    if link:
        path.symlink_to("nowhere")
    else:
        path.write_bytes(b"precious")
    result = run("--bits", 1024, "-o", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: {path} exists, and boards may depend on it: use it, or give another folder "
        "with -o\n"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert link or path.read_bytes() == b"precious"


def test_a_public_key_that_comes_in_the_meantime_is_kept_and_no_half_pair_left(
    tmp_path, monkeypatch
):
    real = keygen.rsa.generate_private_key

    def generate(*arguments):
        (tmp_path / "public.key").write_bytes(b"precious")
        return real(*arguments)

    monkeypatch.setattr(keygen.rsa, "generate_private_key", generate)
    result = run("--bits", 1024, "-o", tmp_path)
    assert result.exit_code == 1 and "public.key exists" in result.stderr
    assert (tmp_path / "public.key").read_bytes() == b"precious"
    assert not (tmp_path / "private.key").exists()


@pytest.mark.parametrize("bits", [512, 0, -8, 1016, 1023, 2047, 2052, 4104, 16384])
def test_an_unfit_length_is_told_and_nothing_is_made(tmp_path, bits):
    result = run("--bits", bits, "-o", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: a key of {bits} bits does not fit: use 1024 to 4096, a multiple of 8; 2048 is "
        "usual\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_told(tmp_path, folder):
    (tmp_path / "file").touch()
    result = run("--bits", 1024, "-o", tmp_path / folder)
    assert result.exit_code == 1 and "error: cannot write" in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_to_do_next_is_told(tmp_path):
    said = run("--bits", 1024, "-o", tmp_path).stdout
    assert "'mpota pack'" in said and f"'mpota flash --publickey {tmp_path}" in said
    assert "PRIVATE KEY-----" not in said
