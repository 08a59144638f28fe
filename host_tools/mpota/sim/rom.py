"""The ROM of the simulated board: its own modules, compiled, in MicroPython's ROMFS format."""

import ast
import atexit
import functools
import tempfile
import textwrap
import threading
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from mpota.image.compile import compile_module
from mpota.sim.rom_modules.names import MISSING

SOURCES = Path(__file__).parent / "rom_modules"

# The interpreter that the board runs in.
ARCHITECTURE = "x64"


_building = threading.Lock()


def build_rom() -> Path:
    """Build the ROM once in this process; its file is there until the process ends."""
    # Boards may be started by several threads, and Python 3.11 can fail to parse in two at once
    # (CPython issue 106905).
    with _building:
        return _build_rom()


@functools.cache
def _build_rom() -> Path:
    writer = VfsRomWriter()

    def add(name: str, source: str, folder: str = "") -> None:
        writer.mkfile(
            f"{name}.mpy", compile_module(source, f"/sim/{folder}{name}.mpy", ARCHITECTURE)
        )

    for path in sorted(SOURCES.glob("*.py")):
        if path.stem != "__init__":
            add(path.stem, path.read_text())
    writer.opendir("frozen")
    for path in sorted((SOURCES / "frozen").glob("*.py")):
        add(path.stem, at_first_import(path.read_text()), "frozen/")
    for name in MISSING:
        add(
            name,
            at_first_import(f'raise NotImplementedError("{name} is not simulated")\n'),
            "frozen/",
        )
    writer.closedir()
    with tempfile.NamedTemporaryFile(prefix="mpota-", suffix=".rom", delete=False) as file:
        file.write(writer.finalise())
    path = Path(file.name)
    atexit.register(path.unlink, missing_ok=True)
    return path


def at_first_import(source: str) -> str:
    """Return the source of a module that does what *source* does when a program imports it.

    The module itself is loaded before any program runs. What it defines takes up heap from the
    program's import on, as with a module that is frozen into the firmware. Imports of the simulated
    board's own modules stay at the beginning, since a program cannot reach all of them.
    """
    own = {path.stem for path in SOURCES.rglob("*.py")}
    names = {"__init__"}
    before, body = [], []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import) and node.names[0].name in own:
            before.append(ast.unparse(node))
            continue
        body.append(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {name.asname or name.name for name in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    lines = [
        *before,
        "def __init__():",
        f"    global {', '.join(sorted(names))}",
        "    del __init__",  # the interpreter calls it at every import
        textwrap.indent("\n".join(ast.unparse(node) for node in body), "    "),
    ]
    return "\n".join(lines) + "\n"
