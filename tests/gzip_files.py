"""Gzips of every kind that zlib and gzip make, for tests/unit/test_inflate.py.

A name is that of the content, without suffix, and what tells it from the others, as small.9-15-0.gz
for zlib's level 9, a window of 15 bits and strategy 0, or small.gzip-9.gz for `gzip -9`.
"""

import random
import subprocess
import zlib
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from mpota.image import build, compression, delta
from mpota.image.signature import sign

_KEYS = Path(__file__).parent / "vectors" / "keys"

_DEFAULT, _HUFFMAN_ONLY, _RLE, _FIXED = 0, 2, 3, 4
_GZIP = 16  # added to the bits of the window
FTEXT, FHCRC, FEXTRA, FNAME, FCOMMENT = 1, 2, 4, 8, 16


def compress(data: bytes, level: int = 9, window: int = 15, strategy: int = _DEFAULT) -> bytes:
    """Return a gzip of *data*, without any field in its header."""
    made = zlib.compressobj(level, zlib.DEFLATED, window + _GZIP, strategy=strategy)
    return made.compress(data) + made.flush()


def with_fields(made: bytes, flags: int) -> bytes:
    """Return *made*, a gzip without fields, with those of *flags* (RFC 1952, 2.3.1)."""
    head = made[:3] + bytes([flags]) + made[4:10]
    if flags & FEXTRA:
        head += (600).to_bytes(2, "little") + bytes(range(100)) * 6
    if flags & FNAME:
        head += b"garden-1.0.0.img\0"
    if flags & FCOMMENT:
        head += b"what is to be said of it" * 20 + b"\0"
    if flags & FHCRC:
        head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    return head + made[10:]


def files() -> dict[str, bytes]:
    """Return the files: each content as NAME, and its gzips."""
    chance = random.Random(15)
    code = b"".join(b"def f%d(x):\n    return x + %d\n" % (n, n * n) for n in range(150))
    code += chance.randbytes(900)
    # What comes once more does so just within the window, and just beyond it.
    far = chance.randbytes(32768 - 300)
    contents = {
        "small": _image({"app.mpy": code}),
        "large": _image(
            {"a": code + far[:-60], "b": code + far[:-300], "c": code, "d": bytes(9000)}
        ),
        "short": b"what fits into one page" * 9,
        "one": b"x",
        "empty": b"",
        "noise": chance.randbytes(2000),
    }
    made = dict(contents)
    for name, data in contents.items():
        for level, window, strategy in _settings(name):
            packed = compress(data, level, window, strategy)
            made[f"{name}.{level}-{window}-{strategy}.gz"] = packed
    for name, levels in (("small", range(1, 10)), ("large", (1, 9))):
        for level in levels:
            command = ["gzip", f"-{level}"]
            packed = subprocess.run(command, input=contents[name], capture_output=True, check=True)
            made[f"{name}.gzip-{level}.gz"] = packed.stdout
    for name, data in contents.items():
        made[f"{name}.ours.gz"] = compression.compress(data)
    for flags in range(32):
        made[f"short.fields-{flags}.gz"] = with_fields(compress(contents["short"]), flags)
    # A copy from before the beginning, with the CRC of what stands in a ring that is blank.
    bits = "1101001000100000010010000000000"
    body = int(bits[::-1], 2).to_bytes(4, "little")
    blank = b"a\0\0\0"
    tail = zlib.crc32(blank).to_bytes(4, "little") + len(blank).to_bytes(4, "little")
    made["astray"] = compress(b"")[:10] + body + tail
    # Blocks of each kind, one after the other.
    mixed = zlib.compressobj(9, zlib.DEFLATED, 15 + _GZIP)
    parts = mixed.compress(contents["small"][:1000]) + mixed.flush(zlib.Z_FULL_FLUSH)
    parts += mixed.flush(zlib.Z_SYNC_FLUSH) + mixed.flush(zlib.Z_SYNC_FLUSH)
    made["small.mixed.gz"] = parts + mixed.compress(contents["small"][1000:]) + mixed.flush()
    return made | _signed(contents["small"]) | _deltas(contents["small"], code)


def _deltas(old: bytes, code: bytes) -> dict[str, bytes]:
    """Return a release, later ones, and deltas; and what a delta is without its gzip."""
    changed = {"app.mpy": b"new" + code[:3000] + b"line" + code[3000:], "zeros": bytes(5000)}
    key = load_pem_private_key((_KEYS / "test-key-2048.pem").read_bytes(), None)
    new = build(name="sample", version="2", sequence=8, files=changed)
    newer = sign(build(name="sample", version="3", sequence=9, files={"app.mpy": code}), key)
    content, _ = compression.unpack(delta.make(old, new))
    return {
        "old": old,
        "new": new,
        "newer": newer,
        "new.delta": delta.make(old, new),
        "newer.delta": delta.make(old, newer),
        "other.delta": delta.make(new, old),
        "new.plain": content,
        "lying.delta": compression.compress(content[:40] + bytes(32) + content[72:]),
        "new.foreign": compress(content),
        "signed.delta": sign(delta.make(old, new), key),
    }


def _signed(image: bytes) -> dict[str, bytes]:
    key, other = (
        load_pem_private_key((_KEYS / f"test-key-{bits}.pem").read_bytes(), None)
        for bits in (2048, 1024)
    )
    return {
        "public.pem": key.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        ),
        "signed": sign(image, key),
        "signed.gz": compress(sign(image, key)),  # the image in it is signed
        "signed.outer.gz": sign(compress(image), key),  # the gzip is
        "signed.other.gz": compress(sign(image, other)),
        "signed.ours.gz": compression.compress(sign(image, key)),
        "signed.ours-outer.gz": sign(compression.compress(image), key),
        "signed.ours-other.gz": sign(compression.compress(image), other),
    }


def _settings(name: str) -> list[tuple[int, int, int]]:
    """Return levels, windows and strategies for the content *name*."""
    if name == "small":
        settings = [(level, window, _DEFAULT) for level in range(10) for window in range(9, 16)]
    else:
        settings = [(level, 15, _DEFAULT) for level in (0, 1, 9)]
    return settings + [(9, 15, strategy) for strategy in (_HUFFMAN_ONLY, _RLE, _FIXED)]


def _image(contents: dict[str, bytes]) -> bytes:
    return build(name="sample", version="1.2.3", sequence=7, files=contents)
