"""Decide who may use the update page: whether a password is needed, which login the client is asked
for, and what follows a wrong one. credentials.py checks the login; this is loaded before and after.

Protocol: docs/SPEC.md. RAM: about 0.6 KB while loaded, and 0.3 KB that stay, for nonces and wrong
passwords.
"""

import uos
from micropython import const
from ubinascii import hexlify
from uhashlib import sha256
from utime import ticks_diff, ticks_ms

from .. import log
from ..clock import after

# After one wrong password of a client, its next one is checked after twice this time, after two
# wrong ones after four times, and so on.
_DELAY_MS = const(250)
_MAX_DELAY_MS = const(8000)
# How many clients with wrong passwords, and how many used nonces, are remembered.
_PEERS = const(8)
_NONCES = const(4)
# Nonces are valid for this time at most.
_NONCE_MS = const(3600000)


def admit(connection, value):
    """Return the answer to a client that may not continue, and the kinds of proof that it may use.

    *value* is the client's header Authorization, or None. The answer is the arguments of
    Connection.say(), or None. The proofs are "SHA-256", "MD5" and "Basic"; none if no password is
    needed. A generator: it waits after wrong passwords from the same address.
    """
    web = connection.web
    get = web.ota.settings.get
    # A password as plain text; without one for the page, the listener's password counts.
    own = get("web_password") or get("web_ha1_sha256") or get("web_ha1_md5")
    password = get("web_password") if own else get("password")
    if not own and not web.ota.has_password():
        return None, ()
    is_strict = get("auth", "classic") != "classic"
    proofs = []
    if password or get("web_ha1_sha256"):
        proofs.append("SHA-256")
    if not is_strict and (password or get("web_ha1_md5")):
        proofs.append("MD5")
    if not proofs:
        return (403, "this board has a password, but none for this page: set web_password"), ()
    if not is_strict:
        proofs.append("Basic")
    guard = _guard(web)
    if value is None:
        return _unauthorized(guard, proofs, "user and password are needed"), proofs
    if _wait_ms(guard, connection.address):
        return (yield from _wait(guard, connection)), proofs
    return None, proofs


def judge(connection, proofs, proof):
    """Return the answer to a client that has not proved the password, as `admit` does, or None.

    *proof* is the result of credentials.check(), with *proofs* of `admit`.
    """
    guard = _guard(connection.web)
    if proof is None:
        _fail(guard, connection.address)
        log.error("web: authentication failed")
        return _unauthorized(guard, proofs, "wrong user or password")
    nonce, count = proof
    if nonce and not _uses_up(guard, nonce, count):
        return _unauthorized(guard, proofs, "the nonce is too old", ", stale=true")
    guard["failures"].pop(connection.address, None)
    connection.is_proved = True
    return None


def _wait(guard, connection):
    # Only one connection at a time waits; it does not count as one that is served.
    if guard["waits"]:
        wait_s = _wait_ms(guard, connection.address) // 1000 + 1
        text = "wrong passwords; try again in %d s" % wait_s
        return 429, text, "Retry-After: %d\r\n" % wait_s
    guard["waits"] = True
    connection.is_served = False
    try:
        while _wait_ms(guard, connection.address):
            yield False
    finally:
        connection.is_served = True
        guard["waits"] = False


def _guard(web):
    # The state that is remembered. A dict, since an object of a class would keep this module in
    # memory.
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
    # Returns how long *address* has to wait until its next password is checked.
    if address not in guard["failures"]:
        return 0
    wait_ms = ticks_diff(guard["failures"][address][1], ticks_ms())
    return wait_ms if 0 < wait_ms <= _MAX_DELAY_MS else 0  # ticks come round after 12 days


def _nonce(guard, number):
    # A nonce is a number, and a proof that this board has made it: no nonce needs to be remembered.
    number = b"%08x" % number
    return number + hexlify(sha256(guard["secret"] + number).digest()[:12])


def _uses_up(guard, nonce, count):
    # Returns whether this board has made *nonce*, and whether the client's count of its uses is
    # higher than before: a request that was recorded on the network cannot be sent again.
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


def _unauthorized(guard, proofs, text, stale=""):
    # The browser takes the first proof that it knows.
    guard["last"] += 1
    nonce = _nonce(guard, guard["last"]).decode()
    headers = ""
    for proof in proofs:
        headers += 'WWW-Authenticate: %s realm="mpota", ' % (
            "Basic" if proof == "Basic" else "Digest"
        )
        if proof == "Basic":
            headers += 'charset="UTF-8"\r\n'
        else:
            headers += 'qop="auth", algorithm=%s, nonce="%s"%s\r\n' % (proof, nonce, stale)
    return 401, text, headers
