"""A file system in memory, with the functions of `uos` that the package uses, for the tests on the
board."""

from io import BytesIO

_IS_FOLDER = 0x4000
_IS_FILE = 0x8000
_BLOCK_BYTES = 4096
_ENOENT, _EEXIST, _ENOTDIR, _EISDIR, _EINVAL, _ENOSPC, _ENOTEMPTY = 2, 17, 20, 21, 22, 28, 39


class _Written(BytesIO):
    # A file that is written; what it holds is there from its end on.
    def __init__(self, files, path):
        super().__init__()
        self._files = files
        self._path = path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._files.nodes[self._path] = self.getvalue()


class Files:
    """Files and folders: `nodes` has each path and what the file holds, None for a folder.

    There are *blocks* of 4096 bytes for files of more than 128.
    """

    def __init__(self, blocks=500):
        self.nodes = {"": None}
        self._blocks = blocks

    def open(self, path, mode):
        """Do what the builtin does."""
        if "w" not in mode:
            content = self._node(path)
            if content is None:
                raise OSError(_EISDIR)
            return BytesIO(content)
        self._check_folder(path)
        if path in self.nodes and self.nodes[path] is None:
            raise OSError(_EISDIR)
        self.nodes[path] = b""
        return _Written(self, path)

    def stat(self, path):
        content = self._node(path)
        return (_IS_FOLDER if content is None else _IS_FILE, 0, 0, 0, 0, 0, len(content or b""))

    def statvfs(self, _):
        used = sum(-(-len(c) // _BLOCK_BYTES) for c in self.nodes.values() if c and len(c) > 128)
        return (_BLOCK_BYTES, _BLOCK_BYTES, self._blocks, self._blocks - used)

    def mkdir(self, path):
        self._check_folder(path)
        if path in self.nodes:
            raise OSError(_EEXIST)
        self.nodes[path] = None

    def remove(self, path):
        self._node(path)
        del self.nodes[path]

    def rmdir(self, path):
        if list(self.ilistdir(path)):
            raise OSError(_ENOTEMPTY)
        del self.nodes[path]

    def ilistdir(self, path):
        if self._node(path) is not None:
            raise OSError(_ENOTDIR)
        for name in list(self.nodes):
            if name.startswith(path + "/") and "/" not in name[len(path) + 1 :]:
                content = self.nodes[name]
                kind = _IS_FOLDER if content is None else _IS_FILE
                yield name[len(path) + 1 :], kind, 0, len(content or b"")

    def _node(self, path):
        self._check_folder(path)
        if path not in self.nodes:
            raise OSError(_ENOENT)
        return self.nodes[path]

    def _check_folder(self, path):
        # Whether the folder that *path* lies in is one.
        folder = path[: path.rfind("/")]
        while folder and folder not in self.nodes:
            folder = folder[: folder.rfind("/")]
            if self.nodes.get(folder) is None:
                raise OSError(_ENOENT)
        if self.nodes[folder] is not None:
            raise OSError(_ENOTDIR)
