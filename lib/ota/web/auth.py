"""The password of the update page: HTTP Digest (RFC 7616) with SHA-256 and MD5, and Basic. Loaded
when a request comes. Protocol: docs/SPEC.md.

RAM: about 0.7 KB while loaded, and 0.3 KB of what is kept of nonces and wrong passwords.
"""

import uos
from micropython import const
from ubinascii import a2b_base64, hexlify
from uhashlib import sha256
from utime import ticks_diff, ticks_ms

from .. import log
from ..clock import after
from ..http import HTTPError, parameter

_REALM = b"mpota"

# After one wrong password of a client, its next one is looked at after twice this, after two after
# twice as long again, and so on.
_DELAY_MS = const(250)
_MAX_DELAY_MS = const(8000)
# Clients whose wrong passwords are remembered, and nonces whose use is.
_PEERS = const(8)
_NONCES = const(4)
# Nonces are good for so long at most.
_NONCE_MS = const(3600000)


def is_open(ota):
    """Return whether everyone may use the page: the board has no password at all."""
    return not (ota.has_password() or _has_own_password(ota.settings.get))


def authenticate(connection, method, target, value):
    """Raise HTTPError unless *value*, of the header Authorization, proves the password.

    A generator: after wrong ones from the same address it waits.
    """
    web = connection.web
    get = web.ota.settings.get
    if is_open(web.ota):
        return
    if not (_can(get, b"SHA-256") or _can(get, b"MD5")):
        raise HTTPError(403, "this board has a password, but none for this page: set web_password")
    guard = _guard(web)
    if value is None:
        raise _unauthorized(guard, get, "user and password are needed")
    if _wait_ms(guard, connection.address):
        yield from _wait(guard, connection)
    if value[:7].lower() == b"digest ":
        is_right = _check_digest(get, method, target, value)
        is_stale = is_right and not _uses_up(
            guard, parameter(value, b"nonce"), int(parameter(value, b"nc"), 16)
        )
    else:
        is_right = _check_basic(get, value)
        is_stale = False
    if is_stale:
        raise _unauthorized(guard, get, "the nonce is too old", True)
    if not is_right:
        _fail(guard, connection.address)
        log.error("web: authentication failed")
        raise _unauthorized(guard, get, "wrong user or password")
    guard["failures"].pop(connection.address, None)
    connection.is_proved = True


def _wait(guard, connection):
    # One connection at a time waits, and is not counted as one that is served.
    if guard["waits"]:
        wait_s = _wait_ms(guard, connection.address) // 1000 + 1
        text = "wrong passwords; try again in %d s" % wait_s
        raise HTTPError(429, text, "Retry-After: %d\r\n" % wait_s)
    guard["waits"] = True
    connection.is_served = False
    try:
        while _wait_ms(guard, connection.address):
            yield False
    finally:
        connection.is_served = True
        guard["waits"] = False


def _guard(web):
    # What is remembered. A dict, since an object of a class would keep this module in memory.
    guard = web.guard
    if guard is None or ticks_diff(ticks_ms(), guard["made"]) > _NONCE_MS:
        web.guard = guard = {
            # IP address → (wrong passwords, when the next one is looked at)
            "failures": guard["failures"] if guard else {},
            "waits": False,  # whether a connection waits for that time
            "secret": uos.urandom(16),
            "made": ticks_ms(),
            "last": 0,  # number of the last nonce
            "counts": {},  # number of a nonce → its highest count
            "forgotten": 0,  # highest number of a nonce that is in `counts` no more
        }
    return guard


def _fail(guard, address):
    # Notes a wrong password from *address*.
    failures = guard["failures"]
    if address not in failures and len(failures) == _PEERS:
        failures.pop(min(failures, key=lambda peer: failures[peer][0]))
    count = failures.get(address, (0,))[0] + 1
    failures[address] = (count, after(min(_DELAY_MS << min(count, 5), _MAX_DELAY_MS)))


def _wait_ms(guard, address):
    # How long *address* has to wait until its next password is looked at.
    if address not in guard["failures"]:
        return 0
    wait_ms = ticks_diff(guard["failures"][address][1], ticks_ms())
    return wait_ms if 0 < wait_ms <= _MAX_DELAY_MS else 0  # ticks come round after 12 days


def _nonce(guard, number):
    # A number, and a proof that this board has made it: to ask for a nonce takes no memory here.
    number = b"%08x" % number
    return number + hexlify(sha256(guard["secret"] + number).digest()[:12])


def _uses_up(guard, nonce, count):
    # Whether *nonce* was made here, and its client, which counts its uses, has come to a higher
    # count than before: what was recorded on the network cannot be sent again.
    number = int(nonce[:8], 16)
    if nonce != _nonce(guard, number):
        return False
    counts = guard["counts"]
    if number not in counts and len(counts) == _NONCES:
        guard["forgotten"] = max(guard["forgotten"], min(counts))
        counts.pop(min(counts))
    if number <= guard["forgotten"] or count <= counts.get(number, 0):
        return False
    counts[number] = count
    return True


def _unauthorized(guard, get, text, is_stale=False):
    # The browser takes the first that it knows.
    guard["last"] += 1
    nonce = _nonce(guard, guard["last"]).decode()
    headers = ""
    for algorithm in (b"SHA-256", b"MD5"):
        if _can(get, algorithm):
            headers += (
                'WWW-Authenticate: Digest realm="mpota", qop="auth", algorithm=%s, nonce="%s"%s\r\n'
                % (algorithm.decode(), nonce, ", stale=true" if is_stale else "")
            )
    if not _is_strict(get):
        headers += 'WWW-Authenticate: Basic realm="mpota", charset="UTF-8"\r\n'
    return HTTPError(401, text, headers)


def _is_strict(get):
    return get("auth", "classic") != "classic"


def _has_own_password(get):
    return get("web_password") or get("web_ha1_sha256") or get("web_ha1_md5")


def _user(get):
    return get("web_user", "mpota").encode()


def _password(get):
    # In plain; the one that the listener has counts where there is none for the page.
    return get("web_password") if _has_own_password(get) else get("password")


def _setting(algorithm):
    return "web_ha1_md5" if algorithm == b"MD5" else "web_ha1_sha256"


def _can(get, algorithm):
    # Whether a password can be proved with *algorithm*, and that is good enough.
    if algorithm == b"MD5" and _is_strict(get):
        return False
    return algorithm in (b"MD5", b"SHA-256") and (get(_setting(algorithm)) or _password(get))


def _ha1(get, algorithm):
    # The digest of user, realm and password, in hex.
    ha1 = get(_setting(algorithm))
    if ha1:
        return ha1.lower().encode()
    return _hex(algorithm, b":".join((_user(get), _REALM, _password(get).encode())))


def _hex(algorithm, data):
    if algorithm == b"SHA-256":
        return hexlify(sha256(data).digest())
    from ..md5 import md5

    digest = md5()
    digest.update(data)
    return hexlify(digest.digest())


def _check_digest(get, method, target, value):
    names = (b"username", b"realm", b"uri", b"qop", b"nonce", b"nc", b"cnonce", b"response")
    values = [parameter(value, name) for name in names]
    algorithm = (parameter(value, b"algorithm") or b"MD5").upper()
    if None in values or not _can(get, algorithm):
        return False
    user, realm, uri, qop, nonce, count, cnonce, response = values
    if (user, realm, uri, qop) != (_user(get), _REALM, target, b"auth"):
        return False
    if len(count) != 8 or len(nonce) != 32:
        return False
    for c in count + nonce:
        if c not in b"0123456789abcdefABCDEF":
            return False
    ha2 = _hex(algorithm, method + b":" + uri)
    ha1 = _ha1(get, algorithm)
    expected = _hex(algorithm, b":".join((ha1, nonce, count, cnonce, qop, ha2)))
    return _is_same(expected, response)


def _check_basic(get, value):
    if value[:6].lower() != b"basic " or _is_strict(get):
        return False
    try:
        user, password = a2b_base64(value[6:]).split(b":", 1)
    except ValueError:  # no base64, or no colon
        return False
    algorithm = b"SHA-256" if _can(get, b"SHA-256") else b"MD5"
    given = _hex(algorithm, b":".join((user, _REALM, password)))
    return user == _user(get) and _is_same(_ha1(get, algorithm), given)


def _is_same(a, b):
    # By digests of the two, so that the time taken tells nothing.
    return sha256(a).digest() == sha256(b).digest()
