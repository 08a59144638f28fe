"""Releases of the power tests: a small application in five versions, good ones and bad ones."""

import functools
import hashlib
import random
from pathlib import Path

from boards import application_image, chip_kb
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.image.keys import binary_keys, load_private_key
from mpota.image.signature import sign

OLDER, OLD, NEW, NEWER, AFTER = "older", "old", "new", "newer", "after"
SEQUENCES = {OLDER: 1, OLD: 2, NEW: 3, NEWER: 4, AFTER: 5}

# A module of every version has the version, too: an application that is a mix of two shows.
_PART = 'VERSION = "{version}"\n'
_SAYS = 'print("app {version} runs with part", part.VERSION)'
APPS = {
    "good": f"import part\ndef main(ota):\n    {_SAYS}\n    while True:\n        ota.handle()\n",
    "raises": f"import part\ndef main(ota):\n    {_SAYS}\n    raise RuntimeError\n",
    "resets": f"import part\nimport umachine\n{_SAYS}\numachine.reset()\n",
    "hangs": f"import part\n{_SAYS}\nwhile True:\n    pass\n",
    # Neither confirms nor rejects, and meanwhile tries to bring in another update.
    "undecided": (
        "import part\ndef main(ota):\n    ota.auto_confirm = False\n"
        f"    {_SAYS}\n    import bringer\n    bringer.bring('/data/{AFTER}.img', ota)\n"
        "    while True:\n        ota.handle()\n"
    ),
    # Leaves too little heap for an update, and enough for the restart into the services alone.
    "full": (
        f"import part\nimport gc\ndef main(ota):\n    {_SAYS}\n"
        "    while ota.arduino.socket is None:\n        ota.handle()\n"
        "    held = None\n    gc.collect()\n"
        f"    while gc.mem_free() > {chip_kb(7)}:\n"
        "        held = held, bytearray(100)\n        gc.collect()\n"
        "    print('full')\n"
        "    while True:\n        ota.handle()\n"
    ),
    # Is good as long as the file /data/broken is not there.
    "breaks": (
        f"import part\nimport uos\ndef main(ota):\n    {_SAYS}\n"
        "    if 'broken' in uos.listdir('/data'):\n        raise RuntimeError\n"
        "    while True:\n        ota.handle()\n"
    ),
}

# What makes an image of more than two sectors, which ends inside of a page.
_TABLE_BYTES = 8300
_MANY_BYTES = 90000  # about as many as a slot takes
_TABLE_NAME = b"table.bin"
_DATA_RECORD, _POINTER_RECORD = 2, 3  # kinds of records of a ROMFS, each in one byte

KEYS, KEYS_BEFORE_RENAME = "/ota.keys", "/ota.keys.new"
_OLD_KEY, _NEW_KEY, _SPARE_KEY = (
    load_private_key(Path(__file__).parent.parent / "vectors" / "keys" / f"test-key-{bits}.pem")
    for bits in (1024, 2048, 3072)
)
# What the board has in /ota.keys, and what `new` brings.
OLD_KEYS = binary_keys([_OLD_KEY.public_key()])
NEW_KEYS = binary_keys([_NEW_KEY.public_key(), _SPARE_KEY.public_key()])


def signed_by_old(data: bytes) -> bytes:
    """Sign *data* with the key that the board has from the start."""
    return sign(data, _OLD_KEY)


def signed_by_new(data: bytes) -> bytes:
    """Sign *data* with a key that only `new` brings."""
    return sign(data, _NEW_KEY)


@functools.cache
def release(version: str, app: str = "good", keys: bytes = b"") -> bytes:
    """Return the image of *version*, several files that bring *keys*, if there are any."""
    return _build(version, app, keys, _TABLE_BYTES)


@functools.cache
def large_release(version: str) -> bytes:
    """Return an image of *version* that is as large as an image can be."""
    beside_table = len(_build(version, "good", b"", _MANY_BYTES)) - _MANY_BYTES
    image = _build(version, "good", b"", IMAGE_LIMIT_BYTES - beside_table)
    assert len(image) == IMAGE_LIMIT_BYTES
    return image


def lying_release(version: str) -> bytes:
    """Return an image of *version* with the right digest and a record that points elsewhere.

    Its last file's data is behind a pointer (a record of kind 3), and far outside of the image.
    """
    image = bytearray(release(version))
    size = int.from_bytes(image[-36:-32], "little")
    at = image.rindex(_TABLE_NAME) + len(_TABLE_NAME)
    assert image[at] == _DATA_RECORD
    image[at] = _POINTER_RECORD
    image[-32:] = hashlib.sha256(image[:size]).digest()
    return bytes(image)


def _build(version: str, app: str, keys: bytes, table_bytes: int) -> bytes:
    files = {
        "app.py": APPS[app].format(version=version).encode(),
        "lib/part.py": _PART.format(version=version).encode(),
        "pages/table.bin": random.Random(version).randbytes(table_bytes),
    }
    if keys:
        files["ota.keys"] = keys
    return application_image(files, name="small", version=version, sequence=SEQUENCES[version])
