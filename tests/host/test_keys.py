"""Keys in PEM files: which are accepted, and what is told about others."""

import struct

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from mpota.errors import CommandError
from mpota.image.keys import binary_keys, load_private_key, load_public_key, warn_of_exposure
from openssl_command import openssl, public_key, test_key

KEY = test_key(2048)


@pytest.fixture
def public(tmp_path):
    return public_key(KEY, tmp_path)


@pytest.fixture
def pem(tmp_path):
    """Return a function that lets openssl write a PEM file, and returns its path."""

    def written_by(*arguments):
        path = tmp_path / "a.pem"
        openssl(arguments[0], "-out", path, *arguments[1:])
        return path

    return written_by


def refusal(load, path):
    with pytest.raises(CommandError) as caught:
        load(path)
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    return line


@pytest.mark.parametrize("form", [(), ("-traditional",)])
def test_a_private_key_is_read_in_both_forms_that_openssl_writes(pem, form):
    path = pem("rsa", "-in", KEY, *form)
    assert (b"BEGIN RSA" in path.read_bytes()) == bool(form)
    assert load_private_key(path).private_numbers() == load_private_key(KEY).private_numbers()


@pytest.mark.parametrize("form", ["-pubout", "-RSAPublicKey_out"])
def test_a_public_key_is_read_in_both_forms_that_openssl_writes(pem, form):
    path = pem("rsa", "-in", KEY, form)
    assert load_public_key(path) == load_private_key(KEY).public_key()


@pytest.mark.parametrize("load", [load_private_key, load_public_key])
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\0\xff" * 50, b"-----BEGIN RSA KEY-----\n", b"ssh-rsa AAAA"),
        b"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nMIIB!\n-----END PUBLIC KEY-----\n",
    ],
)
def test_a_file_that_is_no_key_is_told(tmp_path, load, content):
    path = tmp_path / "broken.pem"
    path.write_bytes(content)
    assert "mpota keygen" in refusal(load, path) or "is wanted" in refusal(load, path)


@pytest.mark.parametrize("at", [80, 300, 900, 1500])
def test_a_key_with_a_part_missing_is_told(tmp_path, at):
    path = tmp_path / "cut.pem"
    content = KEY.read_bytes()
    path.write_bytes(content[:at] + content[at + 40 :])
    assert "not a valid private key" in refusal(load_private_key, path)


def test_a_missing_file_is_told(tmp_path):
    line = refusal(load_public_key, tmp_path / "nothing.pem")
    assert "No such file" in line and "check the name" in line


def test_each_kind_in_the_others_place_is_told(public):
    assert "is a public key, where the private key is wanted" in refusal(load_private_key, public)
    assert "is a private key, where the public key is wanted" in refusal(load_public_key, KEY)


def test_a_locked_key_is_told_with_how_to_unlock_it(pem):
    path = pem("rsa", "-in", KEY, "-aes128", "-passout", "pass:geheim")
    assert "openssl rsa -in" in refusal(load_private_key, path)


def test_a_key_of_another_kind_is_told(tmp_path, pem):
    path = pem("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    assert "is no RSA key" in refusal(load_private_key, path)
    openssl("pkey", "-in", path, "-pubout", "-out", tmp_path / "b.pem")
    assert "is no RSA key" in refusal(load_public_key, tmp_path / "b.pem")


@pytest.mark.parametrize("bits", [512, 1020, 1031, 4104])
def test_a_key_of_an_unfit_length_is_told(tmp_path, pem, bits):
    path = pem("genrsa", bits)
    assert f"a key of {bits} bits does not fit" in refusal(load_private_key, path)
    assert f"a key of {bits} bits does not" in refusal(load_public_key, public_key(path, tmp_path))


def test_another_exponent_than_65537_is_told(tmp_path):
    path = test_key("2048-e3")
    assert "exponent 3" in refusal(load_private_key, path)
    assert "exponent 3" in refusal(load_public_key, public_key(path, tmp_path))


def test_a_key_that_others_can_read_is_warned_of(tmp_path):
    path = tmp_path / "private.key"
    path.write_bytes(b"x")
    for mode, warned in ((0o600, False), (0o400, False), (0o640, True), (0o604, True)):
        path.chmod(mode)
        assert bool(warn_of_exposure(path)) == warned
    assert warn_of_exposure(path) == (
        f"warning: others on this computer can read {path}: chmod 600 {path}"
    )


# The board's key file


def test_the_binary_form_has_each_modulus_with_its_length():
    keys = [load_private_key(test_key(bits)).public_key() for bits in (1032, 2048)]
    data = binary_keys(keys)
    assert data[:6] == b"MPKY\x81\0" and data[6] >= 0x80
    assert data[6 : 6 + 129] == keys[0].public_numbers().n.to_bytes(129)
    assert data[135:137] == struct.pack("<H", 256)
    assert data[137:] == keys[1].public_numbers().n.to_bytes(256)


def test_the_binary_form_may_have_no_key():
    assert binary_keys([]) == b"MPKY"


def test_the_binary_form_takes_no_key_that_a_board_cannot_use(tmp_path):
    other = public_key(test_key("2048-e3"), tmp_path).read_bytes()
    with pytest.raises(CommandError, match="exponent 3"):
        binary_keys([load_pem_public_key(other)])
