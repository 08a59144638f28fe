"""The directory of images: every file under the SHA-256 of what is in it.

So a file is never changed, the same image is kept once, and any web server can give them out.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from mpota.errors import CommandError


class ImageDirectory:
    """The images in *folder*, which is made when the first one is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def name(sha256: str) -> str:
        """Give the name of the file with this digest, relative to the folder."""
        return f"{sha256[:2]}/{sha256}"

    def path(self, sha256: str) -> Path:
        """Give the path of the file with this digest."""
        return self.folder / self.name(sha256)

    def keep(self, data: bytes) -> str:
        """Keep *data*, and return its SHA-256. After it returns no power cut loses the file.

        Raises CommandError where it cannot be written: nothing is left of it then.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        if path.exists():
            return sha256
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                # Readable for a web server that gives images out in the place of this one.
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
        return sha256

    def read(self, sha256: str) -> bytes:
        """Give the content of the file with this digest. Raises OSError where it is gone."""
        return self.path(sha256).read_bytes()


def _sync(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
