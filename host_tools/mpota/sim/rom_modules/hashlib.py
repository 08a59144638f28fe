"""The board's `hashlib`: it has no md5."""

from uhashlib import sha1, sha256

__all__ = ("sha1", "sha256")
