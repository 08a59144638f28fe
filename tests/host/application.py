"""An application for tests of `mpota pack`, and a helper for directories that are refused."""

import pytest
from mpota.errors import CommandError
from mpota.image.directory import pack_directory

MAIN = "def main(ota):\n    pass\n"
TABLE = '[tool.mpota]\nname = "garden"\nversion = "1.4.0"\nsequence = 17\n'


def names(packed):
    """Return the names of the files in a packed image."""
    return list(packed.files)


def refusal(directory, **fields):
    """Pack a directory that cannot be packed; return the error's line."""
    fields = {"name": "a", "version": "1", "sequence": 1} | fields
    with pytest.raises(CommandError) as caught:
        pack_directory(directory, **fields)
    line = str(caught.value)
    assert "\n" not in line
    return line
