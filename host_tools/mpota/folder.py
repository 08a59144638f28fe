"""Tell when the files of a folder have changed, by looking at them again and again."""

import os
import time
from pathlib import Path

_LOOK_S = 0.25
# An editor or version control writes several files one after the other: wait until they are done.
_QUIET_S = 0.5

_Seen = dict[str, tuple[int, int]]


class Folder:
    """The files below `path`, and their sizes and times when they were last looked at.

    Names that begin with "." are left out, and so are the modules that Python has compiled.
    """

    def __init__(self, path: Path):
        self._path = path
        self._seen = self._look()

    def has_changed(self) -> bool:
        """Whether files have changed since `wait` has returned."""
        return self._look() != self._seen

    def wait(self) -> None:
        """Wait until files have changed, and until no further change has come for a moment."""
        while (now := self._look()) == self._seen:
            time.sleep(_LOOK_S)
        self._seen = self._quiet(now)

    def _quiet(self, seen: _Seen) -> _Seen:
        # Waits until nothing changes for a moment; returns the sizes and times of the files then.
        since = time.monotonic()
        while time.monotonic() - since < _QUIET_S:
            time.sleep(_LOOK_S)
            now = self._look()
            if now != seen:
                seen, since = now, time.monotonic()
        return seen

    def _look(self) -> _Seen:
        seen: _Seen = {}
        for folder, folders, files in os.walk(self._path):
            folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
            for name in files:
                if name.startswith("."):
                    continue
                path = os.path.join(folder, name)  # noqa: PTH118 - often, and of many files
                try:
                    stat = os.stat(path)  # noqa: PTH116
                except OSError:  # it went just now
                    continue
                seen[path] = stat.st_mtime_ns, stat.st_size
        return seen
