"""The answer to a 401: HTTP Digest authentication (RFC 7616), and Basic where that is allowed."""

import base64
import hashlib
import re
import secrets

_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]*))')
_ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5"}


class Credentials:
    """A user's name and password, for requests to one server.

    `classic` allows MD5 and Basic; the latter sends the password so that others can read it.
    """

    def __init__(self, user: str, password: str, classic: bool = False):
        self._user, self._password = user, password
        self._allowed = ("SHA-256", "MD5", "Basic") if classic else ("SHA-256",)
        self._kind = ""
        self._realm = self._nonce = ""
        self._count = 0  # uses of the nonce

    def take(self, challenges: list[str]) -> bool:
        """Read a server's WWW-Authenticate headers; return whether one of them can be answered."""
        offered = {}
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            fields = {key.lower(): a or b for key, a, b in _PARAMETER.findall(rest)}
            if scheme.lower() == "basic":
                offered["Basic"] = fields
            elif scheme.lower() == "digest" and "auth" in re.split(r"[ ,]+", fields.get("qop", "")):
                offered[fields.get("algorithm", "MD5").upper()] = fields
        for kind in self._allowed:
            if kind in offered:
                self._kind, self._count = kind, 0
                self._realm = offered[kind].get("realm", "")
                self._nonce = offered[kind].get("nonce", "")
                return True
        return False

    def header(self, method: str, target: str) -> str:
        """Return the value of Authorization for a request; "" where the server asks for none."""
        if not self._kind:
            return ""
        if self._kind == "Basic":
            pair = f"{self._user}:{self._password}".encode()
            return "Basic " + base64.b64encode(pair).decode()
        self._count += 1
        count, cnonce = f"{self._count:08x}", secrets.token_hex(8)
        ha1 = self._hash(f"{self._user}:{self._realm}:{self._password}")
        ha2 = self._hash(f"{method}:{target}")
        response = self._hash(f"{ha1}:{self._nonce}:{count}:{cnonce}:auth:{ha2}")
        return (
            f'Digest username="{self._user}", realm="{self._realm}", nonce="{self._nonce}", '
            f'uri="{target}", algorithm={self._kind}, qop=auth, nc={count}, cnonce="{cnonce}", '
            f'response="{response}"'
        )

    def _hash(self, text: str) -> str:
        return hashlib.new(_ALGORITHMS[self._kind], text.encode()).hexdigest()
