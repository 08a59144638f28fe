"""The answer to a 401: RFC 7616's own example, the choice of a login, and what is kept secret."""

import hashlib
import re

import pytest
from mpota.web import digest

REALM, NONCE = "http-auth@example.org", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
# RFC 7616, section 3.9.1.
EXAMPLE = (
    f'Digest realm="{REALM}", qop="auth, auth-int", algorithm={{}}, nonce="{NONCE}", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
RESPONSES = {
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def fields(header):
    return dict(re.findall(r'(\w+)="?([^",]*)', header.removeprefix("Digest ")))


@pytest.mark.parametrize("algorithm", RESPONSES)
def test_the_example_of_the_rfc_comes_out(monkeypatch, algorithm):
    monkeypatch.setattr(digest.secrets, "token_hex", lambda n: CNONCE)
    credentials = digest.Credentials("Mufasa", "Circle of Life", classic=True)
    assert credentials.take([EXAMPLE.format(algorithm)])
    found = fields(credentials.header("GET", "/dir/index.html"))
    assert found["response"] == RESPONSES[algorithm]
    assert (found["algorithm"], found["uri"]) == (algorithm, "/dir/index.html")
    assert (found["nonce"], found["realm"], found["nc"]) == (NONCE, REALM, "00000001")


def test_each_use_of_a_nonce_has_a_higher_count_and_a_cnonce_of_its_own():
    credentials = digest.Credentials("mpota", "geheim")
    assert credentials.header("GET", "/") == ""
    assert credentials.take([EXAMPLE.format("SHA-256")])
    found = [fields(credentials.header("GET", "/")) for _ in range(3)]
    assert [it["nc"] for it in found] == ["00000001", "00000002", "00000003"]
    assert len({it["cnonce"] for it in found}) == 3
    assert credentials.take([EXAMPLE.format("SHA-256").replace(NONCE, "other")])
    again = fields(credentials.header("GET", "/"))
    assert (again["nc"], again["nonce"]) == ("00000001", "other")


def test_what_is_weak_is_answered_only_where_that_is_allowed():
    weak = [EXAMPLE.format("MD5"), 'Basic realm="mpota"']
    strict, classic = (digest.Credentials("mpota", "geheim", allowed) for allowed in (False, True))
    assert not strict.take(weak)
    assert strict.header("GET", "/") == ""
    assert classic.take(weak)
    assert classic.header("GET", "/").startswith("Digest ")
    assert classic.take(['Basic realm="mpota"'])
    assert classic.header("GET", "/") == "Basic bXBvdGE6Z2VoZWlt"
    for credentials in (strict, classic):
        assert credentials.take([*weak, EXAMPLE.format("SHA-256")])
        assert "algorithm=SHA-256" in credentials.header("GET", "/")
    for challenge in ("", "Digest", "Negotiate x", EXAMPLE.format("SHA-512"), "Digest algorithm=",
                      EXAMPLE.format("SHA-256").replace("auth, auth-int", "auth-int")):  # fmt: skip
        assert not strict.take([challenge]), challenge


def test_the_boards_ha1_is_the_same():
    credentials = digest.Credentials("mpota", "geheim")
    credentials.take([EXAMPLE.format("SHA-256").replace(REALM, "mpota")])
    found = fields(credentials.header("POST", "/update?sha256=x"))
    ha1 = hashlib.sha256(b"mpota:mpota:geheim").hexdigest()
    ha2 = hashlib.sha256(b"POST:/update?sha256=x").hexdigest()
    middle = f"{found['nonce']}:{found['nc']}:{found['cnonce']}:auth"
    assert found["response"] == hashlib.sha256(f"{ha1}:{middle}:{ha2}".encode()).hexdigest()
