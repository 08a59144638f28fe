"""A delta: an image as what has changed since an older one, the base.

It consists of references to parts of the base, and of new bytes. docs/SPEC.md describes the format.
A gzip of it is what is sent to a board.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from mpota import image
from mpota.errors import DamagedImageError
from mpota.image import compression

MAGIC = b"MPD1"
# Magic, SHA-256 of the base, size of the result, its SHA-256.
_HEAD = struct.Struct("<4s32sI32s")
_BLOCK_BYTES = 8  # the size of the blocks by which equal parts of two images are found
_CANDIDATES = 32  # the most places in the base that are tried for one block
_SHORTEST_COPY_BYTES = 8  # a reference to a shorter part is as long as the part itself


@dataclass(frozen=True)
class Copy:
    """A part of the base: `length` bytes from `place` on."""

    place: int
    length: int


@dataclass(frozen=True)
class Delta:
    """A delta that was read: the digests, in hex, of base and result, and what it is made of."""

    base: str
    result: str
    size_bytes: int
    parts: list[Copy | bytes]


def make(old: bytes, new: bytes) -> bytes:
    """Return what is sent to a board that runs the image `old`, so that it makes `new` of it.

    A signature of `new` is one over the image, not over a gzip. Raises DamagedImageError where one
    of the two is not an image.
    """
    old, _ = image.unpacked(old)
    base, result = image.read(old), image.read(new)
    head = _HEAD.pack(MAGIC, bytes.fromhex(base.sha256), len(new), bytes.fromhex(result.sha256))
    # A board copies from the ROMFS and the footer only: two signatures have nothing in common.
    parts = _parts(old[: image.size_bytes(old)], new)
    return compression.compress(head + _packed(parts))


def read(content: bytes) -> Delta:
    """Take a delta apart, without its gzip. Raises DamagedImageError."""
    if not content.startswith(MAGIC) or len(content) < _HEAD.size:
        raise DamagedImageError("it is no delta")
    _, base, size, result = _HEAD.unpack_from(content)
    delta = Delta(base.hex(), result.hex(), size, list(_unpacked(content)))
    if sum(p.length if isinstance(p, Copy) else len(p) for p in delta.parts) != size:
        raise DamagedImageError("its parts have another size than its result")
    return delta


def apply(old: bytes, delta: Delta) -> bytes:
    """Return the image that a board that runs `old` makes of `delta`.

    Raises DamagedImageError.
    """
    old, _ = image.unpacked(old)
    if image.read(old).sha256 != delta.base:
        raise DamagedImageError("it is for another version")
    base = old[: image.size_bytes(old)]
    return b"".join(
        base[p.place : p.place + p.length] if isinstance(p, Copy) else p for p in delta.parts
    )


def _parts(old: bytes, new: bytes) -> Iterator[Copy | bytes]:
    """Cover `new`, from left to right, by the longest parts of `old` that are found, and bytes."""
    places: dict[bytes, list[int]] = {}
    for at in range(len(old) - _BLOCK_BYTES + 1):
        places.setdefault(old[at : at + _BLOCK_BYTES], []).append(at)
    begin = at = 0  # the bytes of `new` from begin to at are covered by no part of the base yet
    follows = 0  # where the last copied part ends in the base
    while at < len(new):
        place, length = follows, _common(old, follows, new, at)
        for other in places.get(new[at : at + _BLOCK_BYTES], ())[:_CANDIDATES]:
            found = _common(old, other, new, at)
            # A copy that goes on where the last one ended takes less room.
            if found > length + 2:
                place, length = other, found
        if length < _SHORTEST_COPY_BYTES:
            at += 1
            follows += 1  # one byte may just have been replaced by another
            continue
        # The copy may begin before the block by which it was found.
        while at > begin and place and old[place - 1] == new[at - 1]:
            at, place, length = at - 1, place - 1, length + 1
        if at > begin:
            yield new[begin:at]
        yield Copy(place, length)
        begin = at = at + length
        follows = place + length
    if begin < len(new):
        yield new[begin:]


def _common(old: bytes, place: int, new: bytes, at: int) -> int:
    """Count the equal bytes from `place` in `old` and from `at` in `new` on."""
    limit = min(len(old) - place, len(new) - at)
    if limit <= 0:
        return 0
    length, step = 0, 64
    while length < limit:
        step = min(step, limit - length)
        if old[place + length : place + length + step] == new[at + length : at + length + step]:
            length += step
            step *= 2
        elif step == 1:
            break
        else:
            step //= 2
    return length


def _packed(parts: Iterator[Copy | bytes]) -> bytes:
    made = bytearray()
    place = 0
    for part in parts:
        if isinstance(part, Copy):
            shift = part.place - place
            made += _number(part.length << 1 | 1)
            made += _number(shift << 1 if shift >= 0 else ~(shift << 1))
            place = part.place + part.length
        else:
            made += _number(len(part) << 1) + part
    return bytes(made)


def _unpacked(content: bytes) -> Iterator[Copy | bytes]:
    at = _HEAD.size
    place = 0
    while at < len(content):
        number, at = _read_number(content, at)
        length = number >> 1
        if not length:
            raise DamagedImageError("a part of it has no bytes")
        if number & 1:
            shift, at = _read_number(content, at)
            place += shift >> 1 ^ -(shift & 1)
            if place < 0:
                raise DamagedImageError("a part of it lies before its base")
            yield Copy(place, length)
            place += length
        else:
            yield content[at : at + length]
            at += length


def _number(value: int) -> bytes:
    """Write a number as a ROMFS does."""
    made = bytes([value & 0x7F])
    while value := value >> 7:
        made = bytes([value & 0x7F | 0x80]) + made
    return made


def _read_number(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for end in range(at, min(at + 4, len(content))):
        value = value << 7 | content[end] & 0x7F
        if content[end] < 0x80:
            return value, end + 1
    raise DamagedImageError("a number in it has no end")
