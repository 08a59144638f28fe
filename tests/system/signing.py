"""Boards with public keys, and images that the real openssl has signed."""

import functools
import hashlib
import struct
import threading
from pathlib import Path

import boards
from device import APP, Device
from openssl_command import openssl, test_key

FIRST, SECOND = test_key("2048"), test_key("3072")

# With keys, an update takes more heap for objects, and with one of 3072 bits a piece of 5,200
# bytes. Objects are twice as large here as on the chip: 38 KiB on the chip have as many words as
# 76 KiB here.
SIGNED_HEAP = "64k"


_new_keys: dict[int, bytes] = {}
_making_a_key = threading.Lock()


def new_key(number: int) -> bytes:
    """Return a private key of 2048 bits that no board knows of; another for every *number*."""
    with _making_a_key:  # several tests run at the same time
        if number not in _new_keys:
            _new_keys[number] = openssl("genrsa", "2048")
        return _new_keys[number]


def private_pem(key: Path | int) -> bytes:
    """Return the private key in the file *key*, or the new one of that number."""
    return new_key(key) if isinstance(key, int) else key.read_bytes()


@functools.cache
def public_pem(key: Path | int) -> bytes:
    """Return the public half of *key*, as openssl writes it."""
    return openssl("rsa", "-pubout", stdin=private_pem(key))


def key_file(*keys: Path | int) -> bytes:
    """Return the content of an `ota.keys` with the public halves of *keys*."""
    return b"".join(public_pem(key) for key in keys)


def with_trailer(image: bytes, signature: bytes) -> bytes:
    """Return *image* with *signature* and its length behind it."""
    return image + signature + struct.pack("<I", len(signature))


def signed(folder: Path, image: bytes, key: Path | int = FIRST, *, legacy: bool = False) -> bytes:
    """Let openssl sign *image*; *folder* is for the key that it wants in a file."""
    path = folder / "signing.key"
    path.write_bytes(private_pem(key))
    if legacy:
        command = ("pkeyutl", "-sign", "-pkeyopt", "rsa_padding_mode:pkcs1", "-inkey", path)
        return with_trailer(image, openssl(*command, stdin=hashlib.sha256(image).digest()))
    return with_trailer(image, openssl("dgst", "-sha256", "-sign", path, stdin=image))


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    """Return *data* with one bit flipped."""
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


class SignedDevice(Device):
    """A board with `ota.keys`, and releases that are signed with `key` unless said otherwise."""

    def __init__(self, folder: Path, app: str = APP, *, keys: bytes | None = None,
                 key: Path | int = FIRST, **settings: object) -> None:  # fmt: skip
        super().__init__(folder, app, **{"heap": SIGNED_HEAP} | settings)
        self.folder = folder
        self.key = key
        keys = key_file(FIRST, SECOND) if keys is None else keys
        boards.change_files(self.board.flash, lambda files: files.update({"/ota.keys": keys}))

    def next_image(self, app: str | None = None, files: dict[str, bytes] | None = None) -> bytes:
        """Increase the sequence, and return the release of that number, signed."""
        return signed(self.folder, super().next_image(app, files), self.key)

    @property
    def keys(self) -> bytes:
        """The board's `ota.keys`."""
        return self.files()["/ota.keys"]
