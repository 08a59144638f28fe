"""Check an application's sources before they travel: each parses, and one entry file has main."""

import ast
import warnings

from mpota.errors import CommandError

_ENTRIES = ("app.py", "app/__init__.py")


def check_sources(files: dict[str, bytes]) -> None:
    """Check that every source of `files` (name to content) parses and that one entry has main.

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
        raise CommandError(f"{name} is no source text ({error}): correct or exclude it") from error


def _top_level_names(body: list[ast.stmt]) -> set[str]:
    """Give the names a module binds, also inside if, try and with at its top level."""
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
