"""`mpota pack`: make an application image of a directory."""

import ast
import fnmatch
import glob
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mpota import image
from mpota.bytecode import bytecode_version
from mpota.compile import compile_module
from mpota.errors import CommandError

# Never packed: what belongs to the host, and above all the keys.
EXCLUDED = (".*", "__pycache__", "*.pyc", "*.signed", "private.key", "public.key")
SETTINGS_FILE = "pyproject.toml"
_STRING = (str, "a string")
_KEYS = {
    "name": _STRING,
    "version": _STRING,
    "sequence": (int, "a number"),
    "board": _STRING,
    "mpy": (bool, "true or false"),
    "exclude": (list, "a list of strings"),
}
_ENTRIES = ("app.py", "app/__init__.py")


@dataclass(frozen=True)
class PackedImage:
    """An application image: what its manifest says, and its bytes."""

    manifest: image.Manifest
    data: bytes


def pack_directory(
    directory: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    sequence: int | None = None,
    board: str | None = None,
    mpy: bool | None = None,
    exclude: tuple[str, ...] = (),
) -> PackedImage:
    """Make an image of the application in `directory`.

    What is None comes from `[tool.mpota]` in the directory's pyproject.toml; `exclude` adds globs
    to the table's own. With `mpy`, sources are compiled. Raises CommandError.
    """
    if not directory.is_dir():
        raise CommandError(f"{directory} is no directory: give the application's directory")
    settings = _settings(directory)
    given = {"name": name, "version": version, "sequence": sequence, "board": board, "mpy": mpy}
    settings |= {key: value for key, value in given.items() if value is not None}
    for key in ("name", "version", "sequence"):
        if key not in settings:
            raise CommandError(
                f"the image needs a {key}: give --{key}, or '{key} = …' under [tool.mpota] in "
                f"{directory / SETTINGS_FILE}"
            )
    earlier_images = f"{glob.escape(settings['name'])}-*.tar"
    globs = [*EXCLUDED, *settings.get("exclude", ()), *exclude, earlier_images]
    files = dict(sorted(_Collection(directory, globs).files.items()))
    _check_sources(files)
    if settings.get("mpy", False):
        files = _compiled(files)
    data = image.build(
        name=settings["name"],
        version=settings["version"],
        sequence=settings["sequence"],
        board=settings.get("board", image.BOARD),
        mpy=bytecode_version(files),
        files=files,
    )
    return PackedImage(image.read(data), data)


def pack(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The application's directory.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: NAME-VERSION.tar here."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The application's name.")] = None,
    version: Annotated[str | None, typer.Option(help="The release, for people.")] = None,
    sequence: Annotated[
        int | None, typer.Option(help="The release's number; grows with every release.")
    ] = None,
    board: Annotated[str | None, typer.Option(help=f"Default: {image.BOARD}.")] = None,
    mpy: Annotated[
        bool | None, typer.Option("--mpy/--no-mpy", help="Compile sources to bytecode.")
    ] = None,
) -> None:
    """Make an application image of DIR, which has app.py (or app/__init__.py) with main().

    Options left out come from [tool.mpota] in DIR/pyproject.toml.
    """
    packed = pack_directory(
        directory, name=name, version=version, sequence=sequence, board=board, mpy=mpy
    )
    manifest = packed.manifest
    if output is None:
        output = Path(f"{manifest.name}-{manifest.version}.tar")
        if len(output.parts) != 1:
            raise CommandError(f"{output} is no file name: say with -o where the image goes")
    try:
        output.write_bytes(packed.data)
    except OSError as error:
        raise CommandError(f"cannot write {output} ({error.strerror}): give another -o") from error
    typer.echo(
        f"{manifest.name} {manifest.version}, sequence {manifest.sequence}: "
        f"{len(manifest.files)} files, {len(packed.data)} bytes, {output}"
    )


def _settings(directory: Path) -> dict:
    path = directory / SETTINGS_FILE
    if not path.exists():
        return {}
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("mpota", {})
        items = table.items()
    except (ValueError, AttributeError, OSError) as error:
        raise CommandError(f"cannot read [tool.mpota] in {path} ({error}): correct it") from error
    for key, value in items:
        if key not in _KEYS:
            raise CommandError(
                f"{path} has '{key}' under [tool.mpota]: the keys are {', '.join(_KEYS)}"
            )
        kind, kind_name = _KEYS[key]
        fits = type(value) is kind  # bool is an int, and no number
        if not fits or kind is list and not all(isinstance(item, str) for item in value):
            raise CommandError(f"{path}: '{key}' is to be {kind_name}: correct it")
    return table


class _Collection:
    """Read a directory's files into `files`, a dict of name in the image to content."""

    def __init__(self, directory: Path, globs: list[str]):
        self.files: dict[str, bytes] = {}
        self._root = directory.resolve()
        self._globs = [pattern.rstrip("/") for pattern in globs]
        self._walk(directory, "", (self._root,))

    def _walk(self, directory: Path, prefix: str, above: tuple[Path, ...]) -> None:
        for path in sorted(directory.iterdir()):
            name = prefix + path.name
            if name == SETTINGS_FILE or self._excluded(name, path.name):
                continue
            target = self._target(path, name)
            if target.is_dir():
                if target in above:
                    raise CommandError(f"the link {name} leads back to itself: exclude it")
                self._walk(path, name + "/", (*above, target))
            elif target.is_file():
                image.check_name(name)
                self.files[name] = self._content(path)

    def _excluded(self, name: str, last: str) -> bool:
        return any(
            fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(last, pattern)
            for pattern in self._globs
        )

    def _target(self, path: Path, name: str) -> Path:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise CommandError(f"the link {name} leads nowhere: mend or exclude it") from error
        if not target.is_relative_to(self._root):
            raise CommandError(f"the link {name} leads out of the directory: copy the file in")
        return target

    def _content(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise CommandError(
                f"cannot read {path} ({error.strerror}): make it readable or exclude it"
            ) from error


def _check_sources(files: dict[str, bytes]) -> None:
    """Check that every source parses and that exactly one entry file defines main."""
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


def _compiled(files: dict[str, bytes]) -> dict[str, bytes]:
    compiled = {name: content for name, content in files.items() if not name.endswith(".py")}
    for name, source in files.items():
        if name.endswith(".py"):
            made = name.removesuffix(".py") + ".mpy"
            if made in files:
                raise CommandError(f"{name} stands beside {made}: delete or exclude one of them")
            compiled[made] = compile_module(source.decode(), name)
    return compiled
