"""What is in a slot, read back from flash: its manifest and its files."""

from binascii import hexlify
from hashlib import sha256

from .errors import OTAError
from .manifest import ManifestReader
from .slots import path


def read_manifest(slot, visit=None):
    """Return *slot*'s Manifest; call *visit* with (size_bytes, SHA-256 hex, name) of its files.

    Raises OSError when there is none, OTAError 38 when it is broken.
    """
    reader = ManifestReader()
    with open(path(slot) + "/MANIFEST", "rb") as f:
        left = f.seek(0, 2)
        f.seek(0)
        while left:
            line = reader.read_line(f, left)
            left -= len(line)
            item = reader.take(line)
            if visit and item:
                visit(*item)
    reader.check()
    return reader.manifest


def verify_slot(slot, buf):
    """Read every file of *slot* back from flash; return its Manifest when all are whole, else None.

    *buf* is a memoryview to read into.
    """
    whole = True

    def check(size_bytes, digest, name):
        nonlocal whole
        if whole and file_digest(path(slot) + "/" + name, buf) != (size_bytes, digest.encode()):
            whole = False

    try:
        manifest = read_manifest(slot, check)
    except (OSError, OTAError):  # a file is missing, or the manifest is broken
        return None
    return manifest if whole else None


def file_digest(name, buf):
    """Return (size in bytes, SHA-256 in hex as bytes) of the file *name*, read through *buf*."""
    digest = sha256()
    size_bytes = 0
    with open(name, "rb") as f:
        while True:
            n = f.readinto(buf)
            if not n:
                return size_bytes, hexlify(digest.digest())
            digest.update(buf[:n])
            size_bytes += n
