"""Signatures: they have the same bytes as openssl's, and no bad one is accepted."""

import hashlib
import json
import random
import struct
from pathlib import Path

import pytest
import signature_vectors
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from mpota.errors import CommandError
from mpota.image import signature, trailer
from mpota.image.keys import load_private_key, load_public_key
from openssl_command import openssl, public_key, test_key, tried

VECTORS = Path(__file__).parent.parent / "vectors" / "signature.json"
CASES = json.loads(VECTORS.read_text())
IMAGE = random.Random(5).randbytes(5000)
BITS = [1024, 1032, 2048, 3072, 4096]


def signed(bits=2048, image=IMAGE, legacy=False):
    return signature.sign(image, load_private_key(test_key(bits)), legacy)


@pytest.fixture
def public(tmp_path):
    return load_public_key(public_key(test_key(2048), tmp_path))


@pytest.mark.parametrize("bits", BITS)
def test_the_signature_is_that_of_openssl(bits):
    theirs = openssl("dgst", "-sha256", "-sign", test_key(bits), stdin=IMAGE)
    assert signed(bits) == IMAGE + theirs + struct.pack("<L", bits // 8)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(
    "command", [("rsautl",), ("pkeyutl", "-pkeyopt", "rsa_padding_mode:pkcs1")]
)
def test_the_legacy_signature_is_that_of_openssl(bits, command):
    digest = hashlib.sha256(IMAGE).digest()
    theirs = openssl(command[0], "-sign", "-inkey", test_key(bits), *command[1:], stdin=digest)
    assert signed(bits, legacy=True) == IMAGE + theirs + struct.pack("<L", bits // 8)


@pytest.mark.parametrize("bits", BITS)
def test_openssl_verifies_the_signature(bits, tmp_path):
    (tmp_path / "signature").write_bytes(trailer.split(signed(bits))[1])
    key = public_key(test_key(bits), tmp_path)
    check = ("dgst", "-sha256", "-verify", key, "-signature", tmp_path / "signature")
    assert openssl(*check, stdin=IMAGE) == b"Verified OK\n"
    assert tried(*check, stdin=IMAGE + b"x").returncode == 1


@pytest.mark.parametrize("bits", BITS)
def test_openssl_opens_the_legacy_signature(bits, tmp_path):
    key = public_key(test_key(bits), tmp_path)
    legacy = trailer.split(signed(bits, legacy=True))[1]
    opened = openssl("rsautl", "-verify", "-pubin", "-inkey", key, stdin=legacy)
    assert opened == hashlib.sha256(IMAGE).digest()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("bits", BITS)
def test_what_is_signed_verifies_in_its_own_form_only(bits, legacy, tmp_path):
    key = load_public_key(public_key(test_key(bits), tmp_path))
    image, found = trailer.split(signed(bits, legacy=legacy))
    assert image == IMAGE
    assert signature.verify(image, found, key, legacy)
    assert not signature.verify(image, found, key, not legacy)
    assert not signature.verify(image + b"\0", found, key, legacy)


@pytest.mark.parametrize("image", [b"", b"x", bytes(10_000)])
def test_any_image_can_be_signed(image, public):
    found = trailer.split(signed(image=image))
    assert found[0] == image and signature.verify(*found, public)


@pytest.mark.parametrize(
    "data",
    [b"", b"abc", bytes(4), bytes(2048), IMAGE, IMAGE + struct.pack("<L", 64)]
    + [bytes(126) + struct.pack("<L", 128)]
    + [bytes(100) + struct.pack("<L", length) for length in (127, 128, 513, 2**32 - 1)],
)
def test_what_has_no_trailer_is_all_image(data):
    assert trailer.split(data) == (data, None)


def test_a_file_may_be_nothing_but_its_trailer():
    assert trailer.split(bytes(128) + struct.pack("<L", 128)) == (b"", bytes(128))


def test_a_good_signature_of_another_image_is_told_from_another_keys(public, tmp_path):
    ours, legacy = (trailer.split(signed(legacy=legacy))[1] for legacy in (False, True))
    other = trailer.split(signed(bits="2048"))[1][::-1]
    assert signature.signs_another_image(ours, public)
    assert signature.signs_another_image(legacy, public)
    assert not signature.signs_another_image(other, public)
    assert not signature.signs_another_image(ours[:-1], public)


# The vectors that the board's tests use as well


def test_the_vectors_are_made_by_their_script():
    assert VECTORS.read_text() == signature_vectors.vectors()


def test_the_vectors_hold_every_length_and_more_forgeries_than_good_ones():
    good = [len(case["signature"]) * 4 for case in CASES if case["good"]]
    assert set(good) == set(BITS) and len(CASES) - len(good) >= 50


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_each_vector_gets_its_verdict(case, tmp_path):
    path = tmp_path / "public.key"
    path.write_text(case["pem"])
    message, found = case["message"].encode(), bytes.fromhex(case["signature"])
    if case["exponent"] != 65537:
        assert not case["good"]
        with pytest.raises(CommandError, match="exponent"):  # whatever is signed with it
            load_public_key(path)
        return
    key = load_public_key(path)
    verdicts = {legacy: signature.verify(message, found, key, legacy) for legacy in (False, True)}
    assert verdicts == {case["legacy"]: case["good"], not case["legacy"]: False}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_openssl_comes_to_the_same_verdicts(case):
    key = load_pem_public_key(case["pem"].encode())
    found, message = bytes.fromhex(case["signature"]), case["message"].encode()
    try:
        key.verify(found, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        accepted = False
    else:
        accepted = True
    # OpenSSL takes every exponent, a board only 65537; the legacy form is another command's.
    rightly_signed = case["good"] and not case["legacy"] or case["name"] == "e = 3, rightly signed"
    assert accepted == rightly_signed


def test_the_cube_root_fools_a_verifier_that_parses():
    case = next(case for case in CASES if case["name"].startswith("e = 3, cube root"))
    number, modulus = int(case["signature"], 16), int(case["modulus"], 16)
    block = pow(number, case["exponent"], modulus).to_bytes(256)
    assert block[:2] == b"\0\1"
    content = block[2:].lstrip(b"\xff")
    assert content.startswith(b"\0" + signature_vectors.SHA256 + bytes.fromhex(case["sha256"]))
