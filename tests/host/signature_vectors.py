"""The signatures of tests/vectors/signature.json: good ones, and every forgery that we know of.

`python tests/host/signature_vectors.py` writes the file. It is made from the keys of
tests/vectors/keys/, with integers only, so that a mistake in the tool is none here. A case has the
public key (PEM, and modulus and exponent by themselves), the message and its SHA-256, the
signature, the form it claims to be in, and whether a board is to take it.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

VECTORS = Path(__file__).parent.parent / "vectors"
KEYS = ("1024", "1032", "2048", "3072", "4096", "2048-e3")

# DER of DigestInfo up to the digest: RFC 8017, section 9.2, note 1.
SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")
_OTHER_OID = bytes.fromhex("3031300d060960864801650304020405000420")  # SHA-224's
_SHA512_OID = bytes.fromhex("3031300d060960864801650304020305000420")
_NO_NULL = bytes.fromhex("302f300b0609608648016503040201" + "0420")
_LONG_FORM = bytes.fromhex("308131300d060960864801650304020105000420")  # BER, not DER


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    """Read one of the test keys."""
    pem = (VECTORS / "keys" / f"test-key-{name}.pem").read_bytes()
    return serialization.load_pem_private_key(pem, None)


class Signer:
    """One key's numbers."""

    def __init__(self, name: str):
        numbers = private_key(name).private_numbers()
        self.n, self.e, self.d = numbers.public_numbers.n, numbers.public_numbers.e, numbers.d
        self.other_d = pow(65537, -1, (numbers.p - 1) * (numbers.q - 1))
        self.size = self.n.bit_length() // 8
        pem = (
            private_key(name)
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        self.public = {"pem": pem.decode(), "modulus": f"{self.n:x}", "exponent": self.e}

    def number(self, block: bytes) -> int:
        """Apply the private key to a block."""
        return pow(int.from_bytes(block), self.d, self.n)

    def sign(self, block: bytes) -> bytes:
        """Apply the private key to a block of the key's size."""
        assert len(block) == self.size and int.from_bytes(block) < self.n
        return self.number(block).to_bytes(self.size)

    def block(self, content: bytes) -> bytes:
        """Pad as EMSA-PKCS1-v1_5 does."""
        return b"\0\1" + b"\xff" * (self.size - 3 - len(content)) + b"\0" + content


def digest(message: str) -> bytes:
    """Return a message's SHA-256."""
    return hashlib.sha256(message.encode()).digest()


def first_message(wanted: Callable[[str], bool]) -> str:
    """Return the first of the test messages with a property."""
    return next(m for m in (f"mpota test image {i}" for i in range(100_000)) if wanted(m))


def good_cases():
    """Yield (name, signer, message, signature, legacy)."""
    for name in KEYS[:-1]:
        signer, message = Signer(name), f"mpota test image {name}"
        info = SHA256 + digest(message)
        yield f"good {name}", signer, message, signer.sign(signer.block(info)), False
        legacy = signer.sign(signer.block(digest(message)))
        yield f"good legacy {name}", signer, message, legacy, True
    small = Signer("1024")
    message = first_message(lambda m: small.sign(small.block(SHA256 + digest(m)))[0] == 0)
    yield (
        "good with a leading zero",
        small,
        message,
        small.sign(small.block(SHA256 + digest(message))),
        False,
    )


def forged_blocks(signer: Signer, message: str) -> dict[str, bytes]:
    """Return blocks that only a careless verifier accepts; the private key is applied to them."""
    found, size = digest(message), signer.size
    info = SHA256 + found
    good = signer.block(info)
    legacy = signer.block(found)
    short = b"\0\1" + b"\xff" * 8 + b"\0"
    garbage = hashlib.shake_256(b"garbage").digest(size)
    return {
        "short padding, garbage behind": (short + info + garbage)[:size],
        "short padding, zeros behind": (short + info).ljust(size, b"\0"),
        "short padding, zeros before": short + info.rjust(size - len(short), b"\0"),
        "short padding, garbage before": short + garbage[: size - len(short) - len(info)] + info,
        "no padding": b"\0\1\0" + info.rjust(size - 3, b"\0"),
        "no padding, digest at the front": (b"\0\1\0" + info).ljust(size, b"\xff"),
        "digest at the wrong end": b"\0\1" + info + b"\0" + b"\xff" * (size - 3 - len(info)),
        "digest reversed": signer.block(SHA256 + found[::-1]),
        "digest cut short": signer.block(SHA256[:-1] + b"\x1f" + found[:-1]),
        "digest all zero": signer.block(SHA256 + bytes(32)),
        "wrong OID, SHA-224": signer.block(_OTHER_OID + found),
        "wrong OID, SHA-512": signer.block(_SHA512_OID + found),
        "no NULL parameter": signer.block(_NO_NULL + found),
        "length in the long form": signer.block(_LONG_FORM + found),
        "garbage as parameter": signer.block(info[:14] + b"\4" + info[15:]),
        "block type 02": b"\0\2" + good[2:],
        "block type 00": b"\0\0" + good[2:],
        "first byte not 0": b"\1\1" + good[2:],
        "one padding byte FE": good[:9] + b"\xfe" + good[10:],
        "last padding byte FE": good[: -len(info) - 2] + b"\xfe\0" + info,
        "separator 01": good[: -len(info) - 1] + b"\1" + info,
        "legacy, short padding": short + found.rjust(size - len(short), b"\0"),
        "legacy, garbage behind": (short + found + garbage)[:size],
        "legacy, block type 02": b"\0\2" + legacy[2:],
        "legacy, digest cut short": signer.block(found[:-1]),
    }


def forged_cases():
    """Yield (name, signer, message, signature, legacy)."""
    signer = Signer("2048")
    message = first_message(
        lambda m: signer.number(signer.block(SHA256 + digest(m))) + signer.n < 256**signer.size
    )
    for name, block in forged_blocks(signer, message).items():
        yield name, signer, message, signer.sign(block), name.startswith("legacy")
    good = signer.sign(signer.block(SHA256 + digest(message)))
    number, size, n = int.from_bytes(good), signer.size, signer.n
    other = signer.sign(signer.block(SHA256 + digest("mpota test image")))
    stranger = Signer("2048-e3")
    block = int.from_bytes(stranger.block(SHA256 + digest(message)))
    strange = pow(block, stranger.other_d, stranger.n).to_bytes(size)
    numbers = {"0": 0, "1": 1, "n-1": n - 1, "n": n, "n+1": n + 1, "all FF": 256**size - 1}
    forgeries = {f"s = {key}": value.to_bytes(size) for key, value in numbers.items()}
    forgeries |= {
        "s + n": (number + n).to_bytes(size),
        "n - s": (n - number).to_bytes(size),
        "s little-endian": good[::-1],
        "the block itself": signer.block(SHA256 + digest(message)),
        "another image's": other,
        "another key's": strange,
        "one byte too long, zero before": b"\0" + good,
        "one byte too long, zero behind": good + b"\0",
        "one byte too short": good[:-1],
        "empty": b"",
        "half": good[: size // 2],
        "twice": good + good,
    }
    for bit in (0, 1, 7, 8, 1023, 1024, 2039, 2040, 2047):  # 0 is the highest
        flipped = number ^ 1 << (8 * size - 1 - bit)
        forgeries[f"bit {bit} flipped"] = flipped.to_bytes(size)
    for name, signature in forgeries.items():
        yield name, signer, message, signature, False
    legacy = signer.sign(signer.block(digest("mpota test image")))
    yield "legacy, another image's", signer, message, legacy, True
    small = Signer("1024")
    zero = first_message(lambda m: small.sign(small.block(SHA256 + digest(m)))[0] == 0)
    cut = small.sign(small.block(SHA256 + digest(zero)))[1:]
    yield "leading zero left out", small, zero, cut, False
    yield "e = 3, cube root with garbage behind", stranger, message, cube_root(message), False
    exact = stranger.sign(stranger.block(SHA256 + digest(message)))
    yield "e = 3, rightly signed", stranger, message, exact, False


def cube_root(message: str) -> bytes:
    """Forge a signature for a key with e = 3 without the private key (Bleichenbacher, 2006)."""
    size = Signer("2048-e3").size
    front = b"\0\1" + b"\xff" * 8 + b"\0" + SHA256 + digest(message)
    highest = int.from_bytes(front.ljust(size, b"\xff"))
    low, high = 0, 1 << 8 * size // 3 + 1
    while low < high:  # the integer cube root of `highest`
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= highest else (low, middle - 1)
    assert (low**3).to_bytes(size).startswith(front)
    return low.to_bytes(size)


def vectors() -> str:
    """Return the file's text."""
    cases = []
    for good, found in ((True, good_cases()), (False, forged_cases())):
        for name, signer, message, signature, legacy in found:
            digests = {"message": message, "sha256": digest(message).hex()}
            signed = {"signature": signature.hex(), "legacy": legacy, "good": good}
            cases.append({"name": name, **signer.public, **digests, **signed})
    return json.dumps(cases, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(f"{(VECTORS / 'signature.json').write_text(vectors())} characters written\n")
