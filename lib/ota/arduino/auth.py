"""The handshakes by which a host proves the password: ArduinoOTA's with MD5, and HMAC-SHA-256.

Loaded when a host sends a request to a board with a password, until the password is proved.
Protocol: docs/SPEC.md. RAM: about 2.2 KB while loaded, the talk with a host included.
"""

import uos
from micropython import const
from ubinascii import hexlify, unhexlify
from uhashlib import sha256

from .. import log
from ..clock import after, is_past

_TIMEOUT_MS = const(10000)
# After one wrong password, the next host is asked later by twice this time, after two by four times
# this, and so on, up to a limit within the 10 s that a host waits.
_DELAY_MS = const(250)
_MAX_DELAY_MS = const(8000)

# How long a host may keep others away without proving the password.
_OWN_MS = const(2000)


def begin(listener, invitation, address):
    """Begin to ask the host at *address* for the password, if *invitation* allows it.

    *invitation* may also be the command of a request, bytes. There is only one talk at a time: see
    `Talk.gives_way`.
    """
    get = listener.ota.settings.get
    strong = _is_strong(invitation)
    talk = listener.talk
    if strong and get("password_hash") and not (get("password") or get("password_sha256")):
        return  # This board cannot take part: it is silent, as boards without this handshake are.
    if talk and not talk.gives_way(invitation, address):
        return
    if get("password") or get("password_sha256" if strong else "password_hash"):
        if strong or get("auth", "classic") == "classic":
            listener.talk = Talk(listener, invitation, address, talk)
            return
        text = "SHA-256 authentication required"
    else:
        text = "no password is set" if strong else "SHA-256 authentication required"
    log.error("arduino: refused: %s", text)
    listener.send("ERR: " + text, address)


def _is_strong(invitation):
    return isinstance(invitation, bytes) or bool(invitation[4])


class Talk:
    """Asking the host at *address*, which has sent *invitation*, for the password.

    If the host has sent another request, as for the status, *invitation* is its command, bytes.
    """

    nonce = None  # None: not asked yet
    _was_guessed = False  # whether a wrong answer has come from another port

    def __init__(self, listener, invitation, address, before):
        self.listener = listener
        self.invitation = invitation
        self.address = address
        self.deadline = after(_TIMEOUT_MS + _MAX_DELAY_MS)
        # The time up to which other hosts are kept away. A host that asks again gets no more time,
        # not even from another port.
        self.own_until = after(_OWN_MS)
        if before and before.address[0] == address[0]:
            self.own_until = before.own_until

    def gives_way(self, invitation, address):
        """Return whether this talk has to end in favour of *invitation*; if not, answer that.

        An update has precedence over a request: anybody can send requests as often as they like.
        """
        if address == self.address:
            if invitation != self.invitation:
                return True
            self._send_question()  # the one before was lost
            return False
        is_request = isinstance(invitation, bytes)
        if isinstance(self.invitation, bytes):
            return not is_request or is_past(self.own_until)
        if not is_request and is_past(self.own_until):
            return True
        self.listener.send("ERR: ERROR[15]: Update already running\n", address)
        return False

    def is_over(self):
        """Return whether the host's time to answer is over."""
        return is_past(self.deadline)

    def step(self):
        """Ask, when it is time for it; return whether the host still has time to answer."""
        if self.is_over():
            log.info("arduino: no answer to AUTH in time")
            return False
        if self.nonce is None and self.listener.ask_at is None:
            self.nonce = hexlify(uos.urandom(32 if _is_strong(self.invitation) else 16))
            self.deadline = after(_TIMEOUT_MS)
            self._send_question()
        return True

    def takes(self, data, address):
        """Return whether the answer *data*, from *address*, proves the password.

        The answer may come from another port than the invitation, since arduino-esp32's espota.py
        sends it so. A wrong answer from the invitation's port ends the talk. After a wrong answer
        from another port, only the invitation's port counts; otherwise a host could guess passwords
        without any delay.
        """
        if self.nonce is None or address[0] != self.address[0] or is_past(self.deadline):
            return False
        if self._was_guessed and address != self.address:
            return False
        if isinstance(self.invitation, bytes):
            if data[:6] != b"MPOTA " or address != self.address:
                return False
        elif data[:4] != b"200 ":
            return False
        if self._is_right(data.split(None, 4)):
            self.listener.failures = 0
            self.listener.ask_at = None
            return True
        self._put_off()
        if address == self.address:
            self.listener.send("Authentication Failed", address)
            self.listener.forget()
        self._was_guessed = True
        return False

    def _send_question(self):
        if self.nonce:
            word = b"AUTH2 " if _is_strong(self.invitation) else b"AUTH "
            self.listener.send(word + self.nonce, self.address)

    def _is_right(self, answer):
        # *answer*: 200, or the words of the request, then cnonce and response.
        nonce = self.nonce
        asked = [b"200"]
        if isinstance(self.invitation, bytes):
            asked = [b"MPOTA", self.invitation]
        if answer[:-2] != asked or len(answer[-2]) != len(nonce) or len(answer[-1]) != len(nonce):
            return False
        response = (_strong if _is_strong(self.invitation) else _classic)(
            self.invitation, nonce, answer[-2], self.listener.ota
        )
        return _is_same(response, answer[-1])

    def _put_off(self):
        # The more wrong answers in a row, the later the next host is asked.
        listener = self.listener
        listener.failures += 1
        listener.ask_at = after(min(_DELAY_MS << min(listener.failures, 5), _MAX_DELAY_MS))
        log.error("arduino: authentication failed")


def _is_same(expected, given):
    """Return whether two texts, as bytes, are equal; the time does not tell where they differ.

    Their lengths are not secret.
    """
    difference = len(expected) ^ len(given)
    for a, b in zip(expected, given):
        difference |= a ^ b
    return not difference


def _classic(_, nonce, cnonce, ota):
    # md5hex(secret:nonce:cnonce); the secret is the MD5 of the password, in hex.
    from ..md5 import md5

    def hexdigest(data):
        digest = md5()
        digest.update(data)
        return hexlify(digest.digest())

    get = ota.settings.get
    secret = get("password_hash")
    secret = secret.lower().encode() if secret else hexdigest(get("password").encode())
    return hexdigest(secret + b":" + nonce + b":" + cnonce)


def _strong(invitation, nonce, cnonce, ota):
    # The HMAC-SHA-256 (RFC 2104), in hex; the key is the SHA-256 of the password.
    if isinstance(invitation, bytes):
        parts = (nonce, cnonce, invitation)
    else:
        command, _, size, _, image_sha256 = invitation
        parts = (nonce, cnonce, b"%d" % command, b"%d" % size, image_sha256.encode())
    key = ota.settings.get("password_sha256")
    key = unhexlify(key) if key else sha256(ota.settings.get("password", "").encode()).digest()
    inner = sha256(bytes([b ^ 0x36 for b in key]) + b"\x36" * 32)
    inner.update(b":".join(parts))
    outer = sha256(bytes([b ^ 0x5C for b in key]) + b"\x5c" * 32)
    outer.update(inner.digest())
    return hexlify(outer.digest())
