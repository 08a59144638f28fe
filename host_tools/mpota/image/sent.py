"""Copies of the images that were sent from this computer; deltas to later images are made of them.

They lie in the user's cache folder. The file name is the SHA-256 that a board tells of its image.
"""

import contextlib
from pathlib import Path

import platformdirs

from mpota import image
from mpota.errors import DamagedImageError

_LIMIT = 100  # images; each is as large as a slot at most
_SHORTEST_DIGEST = 16  # hex digits


def _folder() -> Path:
    return platformdirs.user_cache_path("mpota") / "sent"


def find(digest: str) -> bytes | None:
    """Return the image whose digest, in hex, begins with `digest`; None if it is not known."""
    if len(digest) < _SHORTEST_DIGEST:
        return None
    for path in _folder().glob(f"{digest}*.img"):
        try:
            data = path.read_bytes()
            if image.read(data).sha256 == path.stem:
                return data
        except (OSError, DamagedImageError):
            continue
    return None


def keep(data: bytes) -> None:
    """Keep an image. Nothing happens if it cannot be written, e.g. if the disk is full."""
    plain, _ = image.unpacked(data)
    folder = _folder()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{image.read(plain).sha256}.img"
        new = path.with_suffix(".new")
        new.write_bytes(plain)
        new.replace(path)
        for old in sorted(folder.glob("*.img"), key=_age, reverse=True)[_LIMIT:]:
            old.unlink()


def is_empty() -> bool:
    """Tell whether no image is kept."""
    return not any(_folder().glob("*.img"))


def _age(path: Path) -> float:
    return path.stat().st_mtime
