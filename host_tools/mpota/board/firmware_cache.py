"""MicroPython's firmware from micropython.org, downloaded once and kept.

Its SHA-256 is recorded beside it at the download, and compared whenever it is used.
"""

import http.client
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import platformdirs

from mpota.board.files import device_root
from mpota.board.firmware_file import Firmware, check_firmware
from mpota.errors import CommandError

_TIMEOUT_S = 30
_CHUNK = 32768
_LIMIT_BYTES = 4 * 1024 * 1024  # no firmware for this chip is larger

Progress = Callable[[int, int], None]


def read_firmware(path: Path) -> Firmware:
    """Return the firmware in the file *path*. Raises CommandError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path} ({error.strerror}): check the name") from error
    return check_firmware(data, path.name)


def stock_firmware(
    tell: Callable[[str], None], progress: Progress, cache: Path | None = None
) -> Firmware:
    """Return the pinned firmware, from the cache or from micropython.org.

    *tell* is called with lines for people. Raises CommandError.
    """
    pinned = tomllib.loads((device_root() / "firmware" / "stock.toml").read_text("utf-8"))
    name, url = pinned["file"], pinned["url"] + pinned["file"]
    folder = cache or platformdirs.user_cache_path("mpota")
    path, recorded = folder / name, folder / f"{name}.sha256"
    if not path.exists():
        tell(f"downloading {url}")
        firmware = check_firmware(_download(url, progress), name)
        folder.mkdir(parents=True, exist_ok=True)
        recorded.write_text(f"{firmware.sha256}  {name}\n")
        _write_whole(path, firmware.data)
        return firmware
    firmware = read_firmware(path)
    wanted = (
        recorded.read_text("utf-8").split()[0] if recorded.exists() else "none that was recorded"
    )
    if firmware.sha256 != wanted:
        raise CommandError(
            f"{path} has the SHA-256 {firmware.sha256}, and had {wanted} when it was downloaded: "
            "delete it, then it is downloaded again"
        )
    return firmware


def _download(url: str, progress: Progress) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            total = int(response.headers.get("Content-Length") or 0)
            data = b""
            while chunk := response.read(_CHUNK):
                data += chunk
                if len(data) > _LIMIT_BYTES:
                    raise CommandError(
                        f"{url} is not firmware (it is too large): use --firmware FILE"
                    )
                progress(len(data), max(total, len(data)))
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Only the text of an HTTPError holds the number of the HTTP status.
        is_answer = isinstance(error, urllib.error.HTTPError)
        reason = error if is_answer else getattr(error, "reason", error)
        raise CommandError(
            f"cannot download {url} ({reason}): check the network, or download it with a browser "
            "and give it with --firmware FILE"
        ) from error
    if len(data) < total:
        raise CommandError(
            f"the download of {url} ended after {len(data)} of {total} bytes: try again"
        )
    return data


def _write_whole(path: Path, data: bytes) -> None:
    # The file gets its name only when it is complete.
    partial = path.with_name(f"{path.name}.part")
    partial.write_bytes(data)
    partial.replace(path)
