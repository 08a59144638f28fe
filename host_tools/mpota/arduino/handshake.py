"""How a host proves to a board that it knows the password: two handshakes.

The classic one is ArduinoOTA's, with MD5. The strong one is this project's own: its proof covers
the command, and the size and SHA-256 of the image, as well. docs/SPEC.md describes both.
"""

import hashlib
import hmac
import re
import secrets
from typing import Literal, NamedTuple

from mpota.errors import CommandError

# Which handshake an upload may use: only the strong one, only the classic one, or the classic one
# if the board does not answer the strong one.
Auth = Literal["strict", "classic", "auto"]

_AUTHENTICATE = 200  # command
_CLASSIC_CHALLENGE = re.compile(r"AUTH ([0-9a-fA-F]{32})")
STRONG_CHALLENGE = re.compile(r"AUTH2 ([0-9a-fA-F]{64})")
STRONG_PREFIX = "AUTH2"
STRONG_ONLY = re.compile(r"ERR: *SHA-256 authentication required", re.IGNORECASE)


class Handshake(NamedTuple):
    """How the host was let in: by the `strong` handshake or not, and with a password or without."""

    strong: bool
    password_proven: bool


class Announcement(NamedTuple):
    """What an invitation tells the board about the image."""

    command: int
    size: int
    md5: str
    sha256: str

    @classmethod
    def of(cls, data: bytes, command: int) -> "Announcement":
        """Make the announcement of an image."""
        digests = hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest()
        return cls(command, len(data), *digests)

    def invitation(self, port: int, *, strong: bool) -> str:
        """Return the datagram that asks a board to connect to TCP port `port`."""
        classic = f"{self.command} {port} {self.size} {self.md5}"
        return f"{classic} 2 {self.sha256}\n" if strong else f"{classic}\n"

    def answer(self, challenge: str, password: str) -> str | None:
        """Return the datagram that answers AUTH or AUTH2; None for another kind of challenge."""
        if found := STRONG_CHALLENGE.fullmatch(challenge):
            cnonce = secrets.token_hex(32)
            image = (self.command, self.size, self.sha256)
            response = strong_response(password, found[1], cnonce, *image)
        elif found := _CLASSIC_CHALLENGE.fullmatch(challenge):
            cnonce = secrets.token_hex(16)
            response = classic_response(password, found[1], cnonce)
        else:
            return None
        return f"{_AUTHENTICATE} {cnonce} {response}\n"


def check_password(password: str) -> None:
    """Raise CommandError for a password that no board can have."""
    try:
        password.encode()
    except UnicodeEncodeError as error:
        raise CommandError("the password is not text in UTF-8: check how it is written") from error


def classic_response(password: str, nonce: str, cnonce: str) -> str:
    """Return the answer to a nonce: 32 hex digits, which prove that the password is known."""
    secret = hashlib.md5(password.encode()).hexdigest()
    return hashlib.md5(f"{secret}:{nonce}:{cnonce}".encode()).hexdigest()


def strong_response(
    password: str, nonce: str, cnonce: str, command: int, size: int, sha256: str
) -> str:
    """Return the answer to a nonce, 64 hex digits, which is valid for this image only."""
    return _hmac(password, nonce, cnonce, str(command), str(size), sha256)


def request_response(password: str, nonce: str, cnonce: str, command: str) -> str:
    """Return the answer to a nonce, 64 hex digits, for one request only, such as "status"."""
    return _hmac(password, nonce, cnonce, command)


def _hmac(password: str, *fields: str) -> str:
    """Return HMAC-SHA-256 of the fields, joined by ":"; the key is the SHA-256 of the password."""
    key = hashlib.sha256(password.encode()).digest()
    return hmac.new(key, ":".join(fields).encode("ascii"), hashlib.sha256).hexdigest()
