"""Tell when the files of a folder have changed, by looking at them again and again."""

import os
import time
from pathlib import Path

_LOOK_S = 0.25
# An editor, or a checkout, writes several files one after the other.
_QUIET_S = 0.5

_Seen = dict[str, tuple[int, int]]


class Folder:
    """The files below `path`, and what was seen of them last. Names that begin with "." are left
    out, and what Python keeps of compiled modules.
    """

    def __init__(self, path: Path):
        self._path = path
        self._seen = self._look()

    def has_changed(self) -> bool:
        """Whether there is a change that `wait` has not told yet."""
        return self._look() != self._seen

    def wait(self) -> None:
        """Wait until files have changed and are quiet again."""
        while (now := self._look()) == self._seen:
            time.sleep(_LOOK_S)
        self._seen = self._quiet(now)

    def _quiet(self, seen: _Seen) -> _Seen:
        # Waits until nothing changes for a moment; gives what is seen then.
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
