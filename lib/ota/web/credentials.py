"""Check the login of a client of the update page: HTTP Digest (RFC 7616) with SHA-256 and MD5, and
Basic. Loaded for this only.

RAM: about 0.6 KB while loaded.
"""

from ubinascii import a2b_base64, hexlify
from uhashlib import sha256

from .parameter import parameter

_REALM = b"mpota"


def check(get, proofs, method, target, value):
    """Check *value*, of the header Authorization, against the settings that *get* gives.

    *proofs* are the kinds that are allowed, as auth.admit() returns them. Return the nonce and its
    count, both empty for Basic; None if the login is wrong.
    """
    if value[:7].lower() == b"digest ":
        return _check_digest(get, proofs, method, target, value)
    if value[:6].lower() != b"basic " or "Basic" not in proofs:
        return None
    try:
        user, password = a2b_base64(value[6:]).split(b":", 1)
    except ValueError:  # no base64, or no colon
        return None
    algorithm = proofs[0]
    given = _hex(algorithm, b":".join((user, _REALM, password)))
    is_right = user == _user(get) and _is_same(_ha1(get, algorithm), given)
    return (b"", 0) if is_right else None


def _check_digest(get, proofs, method, target, value):
    names = (b"username", b"realm", b"uri", b"qop", b"nonce", b"nc", b"cnonce", b"response")
    values = [parameter(value, name) for name in names]
    algorithm = (parameter(value, b"algorithm") or b"MD5").upper()
    algorithm = "MD5" if algorithm == b"MD5" else "SHA-256" if algorithm == b"SHA-256" else ""
    if None in values or algorithm not in proofs:
        return None
    user, realm, uri, qop, nonce, count, cnonce, response = values
    if (user, realm, uri, qop) != (_user(get), _REALM, target, b"auth"):
        return None
    if len(count) != 8 or len(nonce) != 32:
        return None
    for c in count + nonce:
        if c not in b"0123456789abcdefABCDEF":
            return None
    ha2 = _hex(algorithm, method + b":" + uri)
    ha1 = _ha1(get, algorithm)
    expected = _hex(algorithm, b":".join((ha1, nonce, count, cnonce, qop, ha2)))
    return (nonce, int(count, 16)) if _is_same(expected, response) else None


def _user(get):
    return (get("web_user") or "mpota").encode()


def _ha1(get, algorithm):
    # The digest of user, realm and password, in hex.
    ha1 = get("web_ha1_md5" if algorithm == "MD5" else "web_ha1_sha256")
    if ha1:
        return ha1.lower().encode()
    # As in auth.admit().
    own = get("web_password") or get("web_ha1_sha256") or get("web_ha1_md5")
    password = get("web_password") if own else get("password")
    return _hex(algorithm, b":".join((_user(get), _REALM, password.encode())))


def _hex(algorithm, data):
    if algorithm == "SHA-256":
        return hexlify(sha256(data).digest())
    from ..md5 import md5

    digest = md5()
    digest.update(data)
    return hexlify(digest.digest())


def _is_same(a, b):
    # Compares digests of the two, so that the time taken tells nothing.
    return sha256(a).digest() == sha256(b).digest()
