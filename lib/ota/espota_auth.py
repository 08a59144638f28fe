"""ArduinoOTA's classic handshake, based on MD5; loaded when a password is set."""

import os
from binascii import hexlify

from micropython import const

from . import log
from .espota_session import after, is_past
from .md5 import md5

_TIMEOUT_MS = const(10000)

# Code of on_error, as in ArduinoOTA.h.
_AUTH_ERROR = const(0)


def authenticate(session, get):
    """Ask the host of *session* to prove that it knows the password; a generator.

    *get* gives `password_hash` or `password` of the settings. Its value is True if the host does.
    """
    nonce = hexlify(os.urandom(16))
    session.send(b"AUTH " + nonce, session.address)
    deadline = after(_TIMEOUT_MS)
    while session.answer is None:
        if is_past(deadline):
            log.info("espota: no answer to AUTH")
            return False
        yield False
    answer = session.answer
    if len(answer) == 3 and len(answer[1]) == 32 and len(answer[2]) == 32:
        difference = 0
        for a, b in zip(_response(get, nonce, answer[1]), answer[2]):
            difference |= a ^ b  # all of it, so that the time taken tells nothing
        if not difference:
            return True
    log.error("espota: authentication failed")
    session.send("Authentication Failed", session.address)
    session.updater.call("error", _AUTH_ERROR)
    return False


def _response(get, nonce, cnonce):
    # md5hex(secret:nonce:cnonce); the secret is the MD5 of the password, in hex.
    secret = get("password_hash")
    secret = secret.lower().encode() if secret else _md5_hex(get("password").encode())
    return _md5_hex(secret + b":" + nonce + b":" + cnonce)


def _md5_hex(data):
    digest = md5()
    digest.update(data)
    return hexlify(digest.digest())
