"""Make an application image of a directory: what goes in, and what its pyproject.toml says."""

import fnmatch
import glob
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from mpota import image
from mpota.errors import CommandError
from mpota.image import signature
from mpota.image.bytecode import bytecode_version
from mpota.image.compile import compile_module
from mpota.image.keys import PRIVATE_KEY, PUBLIC_KEY
from mpota.image.sources import check_sources

# Never packed: what belongs to the host, and above all the keys.
EXCLUDED = (".*", "__pycache__", "*.pyc", "*.signed", PRIVATE_KEY, PUBLIC_KEY)
SETTINGS_FILE = "pyproject.toml"
_STRING = (str, "a string")
_KEYS = {
    "name": _STRING,
    "version": _STRING,
    "sequence": (int, "a number"),
    "mpy": (bool, "true or false"),
    "exclude": (list, "a list of strings"),
}


@dataclass(frozen=True)
class PackedImage:
    """An application image: what its manifest says, and its bytes, the signature included."""

    manifest: image.Manifest
    data: bytes
    signed: bool = False


def pack_directory(
    directory: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    sequence: int | None = None,
    mpy: bool | None = None,
    downgrade: bool = False,
    private_key: RSAPrivateKey | None = None,
) -> PackedImage:
    """Make an image of the application in `directory`.

    What is None comes from `[tool.mpota]` in the directory's pyproject.toml. With `mpy`, sources
    are compiled; with `downgrade`, a board may take the image below its floor; with a
    `private_key`, the image is signed. Raises CommandError.
    """
    if not directory.is_dir():
        raise CommandError(f"{directory} is no directory: give the application's directory")
    settings = _settings(directory)
    given = {"name": name, "version": version, "sequence": sequence, "mpy": mpy}
    settings |= {key: value for key, value in given.items() if value is not None}
    for key in ("name", "version", "sequence"):
        if key not in settings:
            raise CommandError(
                f"the image needs a {key}: write '{key} = …' under [tool.mpota] in "
                f"{directory / SETTINGS_FILE}, or give --{key} to 'mpota pack'"
            )
    earlier_images = f"{glob.escape(settings['name'])}-*.tar"
    globs = [*EXCLUDED, *settings.get("exclude", ()), earlier_images]
    files = dict(sorted(_Collection(directory, globs).files.items()))
    check_sources(files)
    if settings.get("mpy", False):
        files = _compiled(files)
    data = image.build(
        name=settings["name"],
        version=settings["version"],
        sequence=settings["sequence"],
        board=image.BOARD,
        mpy=bytecode_version(files),
        files=files,
        downgrade=downgrade,
    )
    manifest = image.read(data)
    if private_key:
        data = signature.sign(data, private_key)
    return PackedImage(manifest, data, signed=bool(private_key))


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


def _compiled(files: dict[str, bytes]) -> dict[str, bytes]:
    compiled = {name: content for name, content in files.items() if not name.endswith(".py")}
    for name, source in files.items():
        if name.endswith(".py"):
            made = name.removesuffix(".py") + ".mpy"
            if made in files:
                raise CommandError(f"{name} stands beside {made}: delete or exclude one of them")
            compiled[made] = compile_module(source.decode(), name)
    return compiled
