"""Check an application's sources: they parse, there is a main, and no name hides another module."""

import ast
import warnings
from pathlib import PurePosixPath

from mpota.board.firmware_modules import BUILT_IN_MODULES, EXTENSIBLE_MODULES, FROZEN_MODULES
from mpota.errors import CommandError

_ENTRIES = ("app.py", "app/__init__.py")
_LIBRARIES = "lib/"  # this folder of the application is in sys.path too
_MODULE_SUFFIXES = (".py", ".mpy")


def check_sources(files: dict[str, bytes]) -> None:
    """Check that every source in `files` (name → content) parses, and that one of them has main.

    Raises CommandError with the file and line.
    """
    trees = {name: _parse(name, text) for name, text in files.items() if name.endswith(".py")}
    entries = [name for name in _ENTRIES if name in trees]
    if len(entries) != 1:
        raise CommandError(
            "the application has both app.py and app/__init__.py: keep one"
            if entries
            else "the application has no app.py and no app/__init__.py: write one with main(ota)"
        )
    if "main" not in _top_level_names(trees[entries[0]].body):
        raise CommandError(f"{entries[0]} defines no main: add 'def main(ota):' at top level")
    _check_parameter(entries[0], trees[entries[0]])
    _check_folders(files)


def _check_folders(files: dict[str, bytes]) -> None:
    # If a folder and a file have the same name, MicroPython imports the folder.
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for name in files:
        module = name.removesuffix(".mpy").removesuffix(".py")
        if module != name and module in folders:
            raise CommandError(
                f"{name} stands beside the folder {module}/, which MicroPython imports in its "
                "place: rename or exclude one of them"
            )


def _check_parameter(name: str, tree: ast.Module) -> None:
    # If main is a function of this file, checks that it can be called with one argument.
    for statement in tree.body:
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        given = statement.args
        positional = [*given.posonlyargs, *given.args]
        takes_one = bool(positional or given.vararg)
        wants_more = len(positional) - len(given.defaults) > 1 or None in given.kw_defaults
        is_main = statement.name == "main" and not statement.decorator_list
        if is_main and (wants_more or not takes_one):
            raise CommandError(
                f"{name}, line {statement.lineno}: main is called with one argument, the update "
                "services: write 'def main(ota):'"
            )


def warn_of_names(files: dict[str, bytes]) -> list[str]:
    """Return a warning for each module in `files` that has the name of a module of the firmware.

    A folder counts as well, whatever is in it: MicroPython imports it as a package.
    """
    found: dict[str, str] = {}
    for name in files:
        folder = _LIBRARIES if name.startswith(_LIBRARIES) else ""
        part, slash, _ = name.removeprefix(folder).partition("/")
        stem, dot, suffix = part.partition(".")
        if slash:
            found.setdefault(part, f"the folder {folder}{part}")
        elif dot + suffix in _MODULE_SUFFIXES:
            found.setdefault(stem, f"{folder}{part}")
    return [warning for module, where in found.items() if (warning := _warning(module, where))]


def _warning(module: str, where: str) -> str | None:
    if module in EXTENSIBLE_MODULES:
        return (
            f"warning: {where} takes the place of MicroPython's own module {module}, for the "
            "application and for MicroPython's modules that import it, such as asyncio: rename it"
        )
    if module in BUILT_IN_MODULES | FROZEN_MODULES | {"ota"}:
        owner = "mpota's" if module == "ota" else "MicroPython's"
        return (
            f"warning: {where} cannot be imported, since 'import {module}' gives {owner} own "
            "module of that name: rename it"
        )
    return None


def _parse(name: str, source: bytes) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # MicroPython reads every source as UTF-8, whatever its first line says.
            return ast.parse(source.decode(), name)
    except SyntaxError as error:
        where = f"{name}, line {error.lineno}" if error.lineno else name
        raise CommandError(f"{where}: {error.msg}: correct it and pack again") from error
    except ValueError as error:
        raise CommandError(
            f"{name} is not a source text ({error}): correct or exclude it"
        ) from error


def _top_level_names(body: list[ast.stmt]) -> set[str]:
    """Return the names that a module defines, also inside if, try and with at its top level."""
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            nodes = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
            names |= {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            for part in ("body", "orelse", "finalbody"):
                names |= _top_level_names(getattr(statement, part, []))
            for handler in getattr(statement, "handlers", []):
                names |= _top_level_names(handler.body)
    return names
