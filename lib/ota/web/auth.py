"""Who may use the update page: whether a password is needed, what is asked of a client, and what
becomes of its answer, which credentials.py checks. Loaded before that and after it.

Protocol: docs/SPEC.md. RAM: about 0.6 KB while loaded, and 0.3 KB of what is kept of nonces and
wrong passwords.
"""

import uos
from micropython import const
from ubinascii import hexlify
from uhashlib import sha256
from utime import ticks_diff, ticks_ms

from .. import log
from ..clock import after

# After one wrong password of a client, its next one is looked at after twice this, after two after
# twice as long again, and so on.
_DELAY_MS = const(250)
_MAX_DELAY_MS = const(8000)
# Clients whose wrong passwords are remembered, and nonces whose use is.
_PEERS = const(8)
_NONCES = const(4)
# Nonces are good for so long at most.
_NONCE_MS = const(3600000)


def admit(connection, value):
    """Return what is to be said to a client that may not go on, and which proofs are taken of it.

    *value* is that of its header Authorization, or None. What is to be said are the arguments of
    Connection.say(), or None. The proofs are "SHA-256", "MD5" and "Basic"; none where no password
    is needed. A generator: after wrong passwords from the same address it waits.
    """
    web = connection.web
    get = web.ota.settings.get
    # A password in plain; the one that the listener has counts where there is none for the page.
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
    """Return what is to be said to a client whose password is not proved, as `admit` does.

    *proof* is what credentials.check() has returned, with *proofs* of `admit`.
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
    # One connection at a time waits, and is not counted as one that is served.
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
