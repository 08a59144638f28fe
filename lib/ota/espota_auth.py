"""ArduinoOTA's handshakes, the classic one of MD5 and the stronger one of HMAC-SHA-256; loaded when
a password is set. Protocol: docs/SPEC.md.
"""

import os
from binascii import hexlify, unhexlify
from hashlib import sha256

from micropython import const

from . import log
from .espota_session import after, is_past

_TIMEOUT_MS = const(10000)
# The answer to an invitation is put off by this after one wrong password, by twice as much after
# two, and so on, to as much as the host's 10 s of patience allow.
_DELAY_MS = const(250)
_MAX_DELAY_MS = const(8000)

# Code of on_error, as in ArduinoOTA.h.
_AUTH_ERROR = const(0)


def authenticate(session, get, listener):
    """Ask the host of *session* to prove that it knows the password; a generator.

    *get* gives the settings; *listener* counts the failures. Its value is True if the host does.
    """
    strong = bool(session.sha256)
    secret = get("password") or get("password_sha256" if strong else "password_hash")
    if not secret or not (strong or get("auth", "classic") == "classic"):
        text = "no password is set" if strong else "SHA-256 authentication required"
        log.error("espota: refused: %s", text)
        session.send("ERR: " + text, session.address)
        return False
    if listener.failures:
        if session.ask_at is None:
            session.ask_at = after(min(_DELAY_MS << min(listener.failures, 5), _MAX_DELAY_MS))
        while not is_past(session.ask_at):
            yield False
    nonce = hexlify(os.urandom(32 if strong else 16))
    session.answer = None  # what came before there was a nonce answers nothing
    session.send((b"AUTH2 " if strong else b"AUTH ") + nonce, session.address)
    deadline = after(_TIMEOUT_MS)
    while session.answer is None and not is_past(deadline):
        yield False
    if is_past(deadline):  # an answer that came while the application was away may be older or not
        log.info("espota: no answer to AUTH in time")
        return False
    if _is_right(session, nonce, _strong if strong else _classic, get):
        listener.failures = 0
        return True
    listener.failures += 1
    log.error("espota: authentication failed")
    session.send("Authentication Failed", session.address)
    session.updater.call("error", _AUTH_ERROR)
    return False


def _is_right(session, nonce, response, get):
    # session.answer: 200, cnonce, response; both as long as the nonce.
    answer = session.answer
    if len(answer) != 3 or len(answer[1]) != len(nonce) or len(answer[2]) != len(nonce):
        return False
    difference = 0
    for a, b in zip(response(session, nonce, answer[1], get), answer[2]):
        difference |= a ^ b  # all of it, so that the time taken tells nothing
    return not difference


def _classic(session, nonce, cnonce, get):
    # md5hex(secret:nonce:cnonce); the secret is the MD5 of the password, in hex.
    from .md5 import md5

    def hexdigest(data):
        digest = md5()
        digest.update(data)
        return hexlify(digest.digest())

    secret = get("password_hash")
    secret = secret.lower().encode() if secret else hexdigest(get("password").encode())
    return hexdigest(secret + b":" + nonce + b":" + cnonce)


def _strong(session, nonce, cnonce, get):
    # HMAC-SHA-256 (RFC 2104) of what is about to happen; the key is the password's SHA-256.
    key = get("password_sha256")
    key = unhexlify(key) if key else sha256(get("password").encode()).digest()
    inner = sha256(bytes([b ^ 0x36 for b in key]) + b"\x36" * 32)
    inner.update(b":".join((nonce, cnonce, b"%d" % session.command, b"%d" % session.size)))
    inner.update(b":" + session.sha256.encode())
    outer = sha256(bytes([b ^ 0x5C for b in key]) + b"\x5c" * 32)
    outer.update(inner.digest())
    return hexlify(outer.digest())
