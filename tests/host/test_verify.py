"""`mpota verify`: a good signature gives status 0, and each kind of bad one its own line."""

import hashlib
import struct

import pytest
from mpota.cli import app
from mpota.image import signature
from mpota.image.directory import pack_directory
from mpota.image.keys import load_private_key
from openssl_command import openssl, public_key, test_key
from typer.testing import CliRunner

KEY = test_key(2048)


@pytest.fixture
def image(garden):
    return pack_directory(garden).data


@pytest.fixture
def check(tmp_path):
    """Run `mpota verify` on some bytes; return its result."""

    def run(data, bits=2048):
        path = tmp_path / "garden.img"
        path.write_bytes(data)
        key = public_key(test_key(bits), tmp_path)
        return CliRunner().invoke(app, ["verify", str(path), "--publickey", str(key)])

    return run


def signed(image, bits=2048, legacy=False):
    return signature.sign(image, load_private_key(test_key(bits)), legacy)


def refused(result):
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("bits", [1024, 2048, 4096])
def test_a_good_signature_is_status_0(check, image, bits, tmp_path):
    result = check(signed(image, bits), bits)
    assert (result.exit_code, result.stderr) == (0, "")
    path = tmp_path / "garden.img"
    assert result.stdout == f"{path}: good signature, RSA of {bits} bits with SHA-256\n"


def test_what_openssl_signs_is_good(check, image):
    usual = openssl("dgst", "-sha256", "-sign", KEY, stdin=image)
    digest = hashlib.sha256(image).digest()
    legacy = openssl("rsautl", "-sign", "-inkey", KEY, stdin=digest)
    for form in (usual, legacy):
        assert check(image + form + struct.pack("<L", 256)).exit_code == 0


def test_the_legacy_form_is_named(check, image):
    result = check(signed(image, legacy=True))
    assert result.exit_code == 0 and "in the legacy form" in result.stdout


@pytest.mark.parametrize("data", [None, b"", b"abc", b"no image at all, and no trailer"])
def test_no_trailer_is_told(check, image, data):
    line = refused(check(image if data is None else data))
    assert "has no signature" in line and "mpota sign" in line


@pytest.mark.parametrize("length", [1, 127, 513, 2**32 - 1])
def test_a_length_that_lies_is_told(check, image, length):
    line = refused(check(signed(image)[:-4] + struct.pack("<L", length)))
    assert "260 bytes follow its end" in line


@pytest.mark.parametrize("length", [255, 257])
def test_a_length_that_is_not_the_keys_is_told(check, image, length):
    line = refused(check(signed(image)[:-4] + struct.pack("<L", length)))
    assert f"another key, of {length * 8} bits" in line


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 100, 259, 260])
def test_a_trailer_cut_short_is_told(check, image, cut):
    line = refused(check(signed(image)[:-cut]))
    assert "has no signature" in line
    assert (f"at its end: not a good application image, {260 - cut} bytes" in line) == (cut < 260)


def test_a_key_of_another_length_is_told(check, image):
    line = refused(check(signed(image, 1024), 2048))
    assert "another key, of 1024 bits" in line and "has 2048" in line


def test_another_key_is_told(check, image, tmp_path):
    other = tmp_path / "other.pem"
    openssl("genrsa", "-out", other, 2048)
    line = refused(check(signature.sign(image, load_private_key(other))))
    assert "another key" in line and "or its signature is damaged" in line


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("at", [0, 100, -261])
def test_a_changed_image_is_told(check, image, at, legacy):
    data = bytearray(signed(image, legacy=legacy))
    data[at] ^= 1
    assert "was changed after it was signed" in refused(check(data))


def test_a_changed_signature_is_told(check, image):
    data = bytearray(signed(image))
    data[-100] ^= 1
    assert "or its signature is damaged" in refused(check(data))


def test_missing_files_are_told(tmp_path):
    key = public_key(KEY, tmp_path)
    for image, given in ((tmp_path / "no.img", key), (key, tmp_path / "no.key")):
        result = CliRunner().invoke(app, ["verify", str(image), "-p", str(given)])
        assert "No such file" in refused(result)


def test_a_private_key_in_the_public_ones_place_is_told(tmp_path):
    result = CliRunner().invoke(app, ["verify", str(KEY), "-p", str(KEY)])
    assert "where the public key is wanted" in refused(result)
