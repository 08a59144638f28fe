"""The board's `hashlib`: it has no md5."""

from uhashlib import sha1, sha256  # noqa: F401
