"""What is measured of images that are sent as a gzip or a delta, for `make bench`."""

import gzip
from pathlib import Path
from typing import NamedTuple

import measure
from mpota.board.files import package_modules
from mpota.image import build, compression, delta
from mpota.image.directory import pack_directory
from mpota.sim import Board, create_flash

_EXAMPLE = Path(__file__).parent.parent / "examples" / "logger"


class Way(NamedTuple):
    """Of an image: the bytes on the air, bytes of it a second into the pages, and heap for that."""

    sent_bytes: int
    bytes_per_s: float
    heap_bytes: int


def ways(folder: Path) -> dict[str, Way]:
    """Measure an image of this package's bytecode: plain, by `gzip -9`, and as a gzip of mpota."""
    modules = package_modules("xtensa", "/app")
    code = {name: data for name, data in modules.items() if name.endswith(".mpy")}
    while sum(map(len, code.values())) > measure.IMAGE_BYTES * 0.9:
        code.popitem()
    plain = build(name="code", version="1", sequence=1, files=code)
    files = {"plain": plain, "gzip": gzip.compress(plain), "ours": compression.compress(plain)}
    script = (measure.APPS / "unpack.py").read_bytes()
    content = {f"/{name}": data for name, data in files.items()} | {"/main.py": script}
    create_flash(folder / "script.img", content, system=measure._rom())
    found = {}
    with Board(folder / "script.img", ip=measure.IP, heap="2m") as board:
        board.wait_for("^done$", timeout_s=300)
        for line in board.lines:
            if line.startswith("unpacked "):
                _, name, took_us, heap_bytes = line.split()
                rate = len(plain) / int(took_us) * 1e6
                found[name] = Way(len(files[name]), rate, int(heap_bytes))
    return found


def one_line_changed(folder: Path) -> tuple[int, int, int]:
    """Return the bytes of an example with one line changed: as it is, as a gzip, as a delta."""
    copy = folder / "application"
    copy.mkdir()
    for path in _EXAMPLE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = copy / path.relative_to(_EXAMPLE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    old = pack_directory(copy, version="1", sequence=1).data
    source = copy / "app.py"
    source.write_text(source.read_text().replace("import gc\n", "import gc\n\nCHANGED = 1\n", 1))
    new = pack_directory(copy, version="2", sequence=2).data
    return len(new), len(compression.compress(new)), len(delta.make(old, new))
