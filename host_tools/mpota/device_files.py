"""The files that go on a board: boot.py, main.py, the compiled package, settings, an application.

The layout of `/.ota` is that of docs/SPEC.md.
"""

import hashlib
import io
import json
import re
import string
import struct
import tarfile
import tokenize
from pathlib import Path

from mpota.compile import BOARD_ARCHITECTURE, compile_module
from mpota.image import Manifest

_RECORD = "<4sIBBBBIIII32s"


def device_root() -> Path:
    """Return the folder with boot.py, main.py and lib: the wheel's own, or the source checkout."""
    installed = Path(__file__).parent / "device"
    return installed if installed.is_dir() else Path(__file__).parents[2]


def device_files(
    architecture: str = BOARD_ARCHITECTURE, *, short_names: bool = True
) -> dict[str, bytes]:
    """Return boot.py, main.py and lib/ota compiled for *architecture*: absolute name → content.

    A name takes up heap on the board for good, once the module that has it was loaded. So private
    ones are shortened, unless *short_names* is False; they are also what tracebacks show.
    """
    root = device_root()
    files = {f"/{name}": (root / name).read_bytes() for name in ("boot.py", "main.py")}
    for source in sorted((root / "lib").rglob("*.py")):
        name = f"/{source.relative_to(root).with_suffix('.mpy').as_posix()}"
        # Under the name that the board loads it by, which is in memory anyway.
        text = source.read_text()
        if short_names:
            text = _with_short_names(text)
        files[name] = compile_module(text, name, architecture, line_numbers=False)
    return files


def _with_short_names(source: str) -> str:
    # `_a`, `_b`, … in every module, so that they share what each of them costs.
    lines = source.splitlines(keepends=True)
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.NAME and re.match("_[a-z]", token.string)
    ]
    letters = string.ascii_lowercase
    short = [f"_{letter}" for letter in letters] + [f"_{a}{b}" for a in letters for b in letters]
    names = dict(zip(dict.fromkeys(token.string for token in tokens), short, strict=False))
    for token in reversed(tokens):
        row = token.start[0] - 1
        line = lines[row]
        lines[row] = line[: token.start[1]] + names[token.string] + line[token.end[1] :]
    return "".join(lines)


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
