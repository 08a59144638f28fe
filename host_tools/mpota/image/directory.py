"""Make an application image of a directory: choose and compile its files, read pyproject.toml."""

import codecs
import fnmatch
import glob
import tomllib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from mpota import image
from mpota.board.files import SERVICES, package_modules
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.errors import CommandError
from mpota.image import compression, signature
from mpota.image.compile import BOARD_ARCHITECTURE, check_bytecode, compile_module
from mpota.image.keys import PRIVATE_KEY, PUBLIC_KEY
from mpota.image.manifest import Manifest
from mpota.image.sources import check_sources, warn_of_names

# Files that are never packed: those of tools on the host, and above all the keys.
EXCLUDED = (".*", "__pycache__", "*.pyc", "*.signed", PRIVATE_KEY, PUBLIC_KEY)
SETTINGS_FILE = "pyproject.toml"
_APPLICATION = "/app"  # where the board mounts an application
_KEYS = {
    "name": (str, 'a string, e.g. name = "garden"'),
    "version": (str, 'a string, e.g. version = "1.4.0"'),
    "sequence": (int, "a number, e.g. sequence = 1"),
    "exclude": (list, 'a list of strings, e.g. exclude = ["*.md"]'),
    "keep": (list, 'a list of strings, e.g. keep = ["settings.json", "logs/*"]'),
    "data": (str, 'the directory of its data files, e.g. data = "data"'),
}


@dataclass(frozen=True)
class PackedImage:
    """An application image that was made: `data` are its bytes, including the signature.

    `files` maps the names of the files in it to their contents; `warnings` are lines for people.
    """

    manifest: Manifest
    files: dict[str, bytes]
    data: bytes
    signed: bool
    warnings: list[str]


def pack_directory(
    directory: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    sequence: int | None = None,
    with_ota: bool = False,
    without: Collection[str] = (),
    downgrade: bool = False,
    gzip: bool = False,
    data_directory: Path | None = None,
    data_digest: str | None = None,
    private_key: RSAPrivateKey | None = None,
    architecture: str = BOARD_ARCHITECTURE,
) -> PackedImage:
    """Make an image of the application in `directory`, its sources compiled for `architecture`.

    A `name`, `version` or `sequence` that is None comes from `[tool.mpota]` in the directory's
    pyproject.toml. With `with_ota`, the image brings this version of the package `ota`, without the
    SERVICES in `without`. With `downgrade`, a board may take the image below its floor. With
    `gzip`, it is compressed. With a `private_key`, it is signed. `data_digest` names the data image
    that belongs to the application; `data_directory`, of which that image was made, is left out.
    Raises CommandError.
    """
    if not directory.is_dir():
        raise CommandError(f"{directory} is not a directory: give the application's directory")
    settings = _settings(directory)
    given = {"name": name, "version": version, "sequence": sequence}
    settings |= {key: value for key, value in given.items() if value is not None}
    for key in ("name", "version", "sequence"):
        if key not in settings:
            raise CommandError(
                f"the image needs a {key}: write '{key} = …' under [tool.mpota] in "
                f"{directory / SETTINGS_FILE}, or give --{key} to 'mpota pack'"
            )
    earlier_images = f"{glob.escape(settings['name'])}-*.img"
    made_of_them = [f"{earlier_images}.{suffix}" for suffix in ("gz", "delta", "data.tar")]
    globs = [*EXCLUDED, *settings.get("exclude", ()), earlier_images, *made_of_them]
    if data_directory and data_directory.resolve().is_relative_to(directory.resolve()):
        globs.append(data_directory.resolve().relative_to(directory.resolve()).as_posix())
    collection = _Collection(directory, globs)
    sources = dict(sorted(collection.files.items()))
    check_sources(sources)
    files = _compiled(sources, architecture)
    if with_ota:
        folder = image.PACKAGE_FOLDER
        package = package_modules(architecture, f"{_APPLICATION}/{folder}", without)
        files |= {f"{folder}/{module}": code for module, code in package.items()}
    data = image.build(
        name=settings["name"],
        version=settings["version"],
        sequence=settings["sequence"],
        files=files,
        downgrade=downgrade,
        data=data_digest,
        keep=settings.get("keep", ()),
    )
    plain_bytes = len(data)
    if gzip:
        data = compression.compress(data)
    if private_key:
        data = signature.sign(data, private_key)
    if max(len(data), plain_bytes) > IMAGE_LIMIT_BYTES:
        raise _too_large(max(len(data), plain_bytes), files, with_ota)
    return PackedImage(
        image.read(data).manifest,
        files,
        data,
        bool(private_key),
        collection.warnings + warn_of_names(sources),
    )


def data_directory_of(directory: Path) -> Path | None:
    """Return the folder of data files that an application's pyproject.toml names, or None."""
    named = _settings(directory).get("data")
    return directory / named if named else None


def read_directory(directory: Path, check_name: Callable[[str], None]) -> dict[str, bytes]:
    """Read the data files of a folder without changes: name → content. EXCLUDED are left out."""
    collection = _Collection(directory, [*EXCLUDED], check_name, are_data=True)
    return dict(sorted(collection.files.items()))


def _settings(directory: Path) -> dict[str, Any]:
    path = directory / SETTINGS_FILE
    if not path.exists():
        return {}
    try:
        table: dict[str, Any] = (
            tomllib.loads(path.read_text("utf-8-sig")).get("tool", {}).get("mpota", {})
        )
        items = table.items()
    except (ValueError, AttributeError, OSError) as error:
        raise CommandError(f"cannot read [tool.mpota] in {path} ({error}): correct it") from error
    for key, value in items:
        if key not in _KEYS:
            raise CommandError(
                f"{path} has the unknown key '{key}' under [tool.mpota]: the keys are "
                f"{', '.join(_KEYS)}"
            )
        kind, kind_name = _KEYS[key]
        fits = type(value) is kind  # not isinstance(): a bool is an int, and is not a number
        if not fits or kind is list and not all(isinstance(item, str) for item in value):
            raise CommandError(f"{path}: '{key}' must be {kind_name}")
    return table


class _Collection:
    """The files of a directory: `files` maps their names in the image to their contents.

    Folders that belong to tools on the host are left out, with a line in `warnings` for each.
    """

    def __init__(
        self,
        directory: Path,
        globs: list[str],
        check_name: Callable[[str], None] = image.check_name,
        *,
        are_data: bool = False,
    ):
        self.files: dict[str, bytes] = {}
        self.warnings: list[str] = []
        self._check_name = check_name
        self._are_data = are_data
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
                    raise CommandError(
                        f"the link {name} leads to a folder that contains it: exclude it"
                    )
                if what := _tools_folder(path):
                    self.warnings.append(
                        f"warning: the folder {name} is left out, since it is {what}: exclude it"
                    )
                    continue
                self._walk(path, name + "/", (*above, target))
            elif target.is_file():
                self._check_name(name)
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
            raise CommandError(f"the link {name} leads nowhere: correct or exclude it") from error
        if not target.is_relative_to(self._root):
            raise CommandError(
                f"the link {name} leads out of the directory: replace it by a copy of the file"
            )
        return target

    def _content(self, path: Path) -> bytes:
        try:
            if self._are_data:
                return path.read_bytes()
            size = path.stat().st_size
            if size > IMAGE_LIMIT_BYTES:
                raise CommandError(
                    f"{path} has {size} bytes and a slot takes {IMAGE_LIMIT_BYTES}: exclude it, or "
                    "put it into /data on the board"
                )
            content = path.read_bytes()
            # Some editors write a byte order mark before a text; it is not a part of the source.
            return content.removeprefix(codecs.BOM_UTF8) if path.suffix == ".py" else content
        except OSError as error:
            raise CommandError(
                f"cannot read {path} ({error.strerror}): make it readable or exclude it"
            ) from error


def _tools_folder(path: Path) -> str | None:
    # Returns what kind of folder this is, if no application means to have it in its image.
    if path.name == "node_modules":
        return "JavaScript's packages"
    if (path / "pyvenv.cfg").exists():
        return "a virtual environment of Python"
    return None


def _compiled(files: dict[str, bytes], architecture: str) -> dict[str, bytes]:
    compiled = {}
    for name, content in files.items():
        made = name
        if name.endswith(".py"):
            made = name.removesuffix(".py") + ".mpy"
            if made in files:
                raise CommandError(f"both {name} and {made} exist: delete or exclude one of them")
            path = f"{_APPLICATION}/{made}"
            content = compile_module(content.decode(), path, architecture, file=name)
        elif name.endswith(".mpy"):
            check_bytecode(name, content, architecture)
        compiled[made] = content
    return compiled


def _too_large(size: int, files: dict[str, bytes], with_ota: bool) -> CommandError:
    too_much = f"the image has {size} bytes and a slot takes {IMAGE_LIMIT_BYTES}"
    if with_ota:
        folder = f"{image.PACKAGE_FOLDER}/ota/"
        sizes = [
            f"--without {service} ({_size_of(files, f'{folder}{service}/')} bytes)"
            for service in SERVICES
        ]
        return CommandError(
            f"{too_much}; the update services take {_size_of(files, folder)} bytes of it: leave "
            f"out those that the application does not need: {', '.join(sizes)}"
        )
    largest = max(files, key=lambda name: len(files[name]))
    return CommandError(
        f"{too_much}: exclude files, and put large ones, such as pages and pictures, into /data on "
        f"the board (the largest file is {largest}, {len(files[largest])} bytes)"
    )


def _size_of(files: dict[str, bytes], folder: str) -> int:
    return sum(len(data) for name, data in files.items() if name.startswith(folder))
