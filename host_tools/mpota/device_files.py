"""The files that go on a board: boot.py, main.py, the compiled package, settings, an application.

The layout of `/.ota` is that of docs/SPEC.md.
"""

import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path

from mpota.compile import BOARD_ARCHITECTURE, compile_module
from mpota.image import Manifest

_RECORD = "<4sIBBBBIIII32s"


def device_root() -> Path:
    """Return the folder with boot.py, main.py and lib: the wheel's own, or the source checkout."""
    installed = Path(__file__).parent / "device"
    return installed if installed.is_dir() else Path(__file__).parents[2]


def device_files(architecture: str = BOARD_ARCHITECTURE) -> dict[str, bytes]:
    """Return boot.py, main.py and lib/ota compiled for *architecture*: absolute name → content."""
    root = device_root()
    files = {f"/{name}": (root / name).read_bytes() for name in ("boot.py", "main.py")}
    for source in sorted((root / "lib").rglob("*.py")):
        name = f"/{source.relative_to(root).with_suffix('.mpy').as_posix()}"
        # Under the name that the board loads it by, which is in memory anyway.
        files[name] = compile_module(source.read_text(), name, architecture, line_numbers=False)
    return files


def settings_file(settings: dict[str, object]) -> dict[str, bytes]:
    """Return /ota.json with *settings*."""
    return {"/ota.json": json.dumps(settings, indent=1).encode() + b"\n"}


def application_files(image: bytes, manifest: Manifest) -> dict[str, bytes]:
    """Return slot a with the content of *image*, and the record that makes it active."""
    with tarfile.open(fileobj=io.BytesIO(image)) as tar:
        files = {f"/.ota/a/{m.name}": tar.extractfile(m).read() for m in tar.getmembers()}
    files["/.ota/record"] = _first_record(manifest.sequence)
    return files


def _first_record(floor: int) -> bytes:
    body = struct.pack(_RECORD, b"MPBR", 1, ord("a"), ord("-"), 0, 0, floor, 0, 0, 0, b"")
    return body + hashlib.sha256(body).digest()[:8]
