"""The directory of images: the name of a file is the SHA-256 of its content.

So a file never changes, an image is kept once, and any web server can send the files.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from mpota.errors import CommandError
from mpota.image import compression, delta

_WORTH_WHILE = 0.8  # a delta or a gzip may have so much of the image's size, or it is not sent


class ImageDirectory:
    """The images in *folder*, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def name(sha256: str) -> str:
        """Return the name of the file with this digest, relative to the folder."""
        return f"{sha256[:2]}/{sha256}"

    def path(self, sha256: str) -> Path:
        """Return the path of the file with this digest."""
        return self.folder / self.name(sha256)

    def keep(self, data: bytes) -> str:
        """Keep *data* and return its SHA-256; from then on no power cut loses the file.

        Raises CommandError where the file cannot be written; then nothing of it is left.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        self._write(self.path(sha256), data)
        return sha256

    @staticmethod
    def gzip_name(sha256: str) -> str:
        """Return the name of the gzip of the file with this digest."""
        return f"gzips/{sha256}"

    def gzip(self, sha256: str) -> bytes:
        """Return a gzip of the file with this digest; it is made when it is asked for first.

        It is empty where it saves too little. Raises OSError, CommandError.
        """
        path = self.folder / self.gzip_name(sha256)
        if not path.exists():
            whole = self.read(sha256)
            made = compression.compress(whole)
            self._write(path, made if len(made) <= _WORTH_WHILE * len(whole) else b"")
        return path.read_bytes()

    @staticmethod
    def delta_name(base: str, result: str) -> str:
        """Return the name of the delta between two images, by their SHA-256."""
        return f"deltas/{base[:32]}-{result[:32]}"

    def delta(self, base: str, result: str) -> bytes:
        """Return the delta between two images; it is made when it is asked for the first time.

        It is empty where it saves too little. Raises OSError, CommandError.
        """
        path = self.folder / self.delta_name(base, result)
        if not path.exists():
            whole = self.read(result)
            made = delta.make(self.read(base), whole)
            self._write(path, made if len(made) <= _WORTH_WHILE * len(whole) else b"")
        return path.read_bytes()

    def _write(self, path: Path, data: bytes) -> None:
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                # A web server that sends the images may be another user.
                Path(temporary).chmod(0o644)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _sync(path.parent)
        except OSError as error:
            raise CommandError(
                f"the image cannot be kept in {self.folder} ({error.strerror}): make room there"
            ) from error

    def check(self, sha256: str) -> None:
        """Raise OSError where the file with this digest is gone, or cannot be read."""
        self.path(sha256).open("rb").close()

    def read(self, sha256: str) -> bytes:
        """Return the content of the file with this digest. Raises OSError where it is gone."""
        return self.read_file(self.name(sha256))

    def read_file(self, name: str) -> bytes:
        """Return the content of the file *name* of this folder. Raises OSError where it is gone."""
        return (self.folder / name).read_bytes()


def _sync(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
