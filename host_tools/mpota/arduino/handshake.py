"""How a host proves a password to a board: ArduinoOTA's way with MD5, and this project's own.

The second binds command, size and SHA-256 of the image to the password. Both are in docs/SPEC.
"""

import hashlib
import hmac
import re
import secrets
from typing import Literal, NamedTuple

from mpota.errors import CommandError

# Which handshake an upload may use: this project's own only, the classic one only, or the classic
# one where the board does not answer the other.
Auth = Literal["strict", "classic", "auto"]

_AUTHENTICATE = 200  # command
_CLASSIC_CHALLENGE = re.compile(r"AUTH ([0-9a-fA-F]{32})")
STRONG_CHALLENGE = re.compile(r"AUTH2 ([0-9a-fA-F]{64})")
STRONG_PREFIX = "AUTH2"
STRONG_ONLY = re.compile(r"ERR: *SHA-256 authentication required", re.IGNORECASE)


class Handshake(NamedTuple):
    """What a board and the host have agreed on: `strong` is this project's own handshake."""

    strong: bool
    password_proven: bool


class Announcement(NamedTuple):
    """What an invitation says of the image."""

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
        """Give the datagram that asks a board to connect to TCP port `port`."""
        classic = f"{self.command} {port} {self.size} {self.md5}"
        return f"{classic} 2 {self.sha256}\n" if strong else f"{classic}\n"

    def answer(self, challenge: str, password: str) -> str | None:
        """Give the datagram that answers AUTH or AUTH2; None for another kind of challenge."""
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
    """Answer a nonce: 32 hex digits that only who knows the password can tell."""
    secret = hashlib.md5(password.encode()).hexdigest()
    return hashlib.md5(f"{secret}:{nonce}:{cnonce}".encode()).hexdigest()


def strong_response(
    password: str, nonce: str, cnonce: str, command: int, size: int, sha256: str
) -> str:
    """Answer a nonce for one image only, with 64 hex digits."""
    return _hmac(password, nonce, cnonce, str(command), str(size), sha256)


def request_response(password: str, nonce: str, cnonce: str, command: str) -> str:
    """Answer a nonce for one request only, such as "status", with 64 hex digits."""
    return _hmac(password, nonce, cnonce, command)


def _hmac(password: str, *fields: str) -> str:
    """Give HMAC-SHA-256 of the fields, joined by ":"; the key is the SHA-256 of the password."""
    key = hashlib.sha256(password.encode()).digest()
    return hmac.new(key, ":".join(fields).encode("ascii"), hashlib.sha256).hexdigest()
