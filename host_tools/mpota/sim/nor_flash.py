"""The flash chip as the boot ROM drives it: programs clear bits, erases set whole sectors."""

import hashlib
from collections.abc import Callable, Iterator

SECTOR_BYTES = 4096
PAGE_BYTES = 256
_ERASED = b"\xff"


class NorFlash:
    """A flash chip whose content is *image*, any mutable buffer, in whole sectors.

    *before* is called with the offset and the new bytes of every program, and with the offset and
    None before every sector is erased. What it raises ends the operation before it has begun.
    """

    def __init__(
        self,
        image: memoryview,
        before: Callable[[int, bytes | None], None] = lambda offset, new: None,
    ) -> None:
        self._image = image
        self._before = before

    def __len__(self) -> int:
        return len(self._image)

    def read(self, offset: int, size: int) -> bytes:
        """Return *size* bytes; after the flash's end comes its beginning, as on the chip."""
        return b"".join(
            bytes(self._image[at : at + length]) for at, length in self._pieces(offset, size)
        )

    def md5(self, offset: int, size: int) -> bytes:
        """Return the MD5 digest of *size* bytes."""
        return hashlib.md5(self.read(offset, size)).digest()

    def program(self, offset: int, data: bytes) -> None:
        """Program *data*, page by page. A bit that is 0 stays 0, whatever *data* says."""
        done = 0
        for at, length in self._pieces(offset, len(data), PAGE_BYTES):
            new = data[done : done + length]
            self._before(at, new)
            old = int.from_bytes(self._image[at : at + length], "little")
            both = old & int.from_bytes(new, "little")
            self._image[at : at + length] = both.to_bytes(length, "little")
            done += length

    def erase(self, offset: int, size: int) -> None:
        """Erase every sector that has one of the *size* bytes from *offset* on."""
        begin = offset // SECTOR_BYTES * SECTOR_BYTES
        end = -(-(offset + size) // SECTOR_BYTES) * SECTOR_BYTES
        for at, length in self._pieces(begin, end - begin, SECTOR_BYTES):
            self._before(at, None)
            self._image[at : at + length] = _ERASED * length

    def _pieces(self, offset: int, size: int, unit: int = 0) -> Iterator[tuple[int, int]]:
        # The offset and length of each piece that lies in one unit (0: the whole flash).
        unit = unit or len(self._image)
        end = offset + size
        while offset < end:
            length = min(unit - offset % unit, end - offset)
            yield offset % len(self._image), length
            offset += length
