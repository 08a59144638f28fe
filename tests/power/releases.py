"""Releases of the power tests: a small application in four versions, good ones and bad ones.

A scenario is a board that runs `old` and is given `new`, which may bring other keys.
"""

import functools
import random
from dataclasses import dataclass
from pathlib import Path

from mpota import image
from mpota.image.keys import binary_keys, load_private_key
from mpota.image.signature import sign

OLDER, OLD, NEW, AFTER = "older", "old", "new", "after"
SEQUENCES = {OLDER: 1, OLD: 2, NEW: 3, AFTER: 4}

# A part of every version comes from its lib: a mix of two versions shows.
_PART = 'VERSION = "{version}"\n'
_SAYS = 'print("app {version} runs with part", part.VERSION)'
APPS = {
    "good": f"import part\ndef main(ota):\n    {_SAYS}\n    while True:\n        ota.handle()\n",
    "raises": f"import part\ndef main(ota):\n    {_SAYS}\n    raise RuntimeError\n",
    "resets": f"import part\nimport machine\n{_SAYS}\nmachine.reset()\n",
    "hangs": f"import part\n{_SAYS}\nwhile True:\n    pass\n",
    "undecided": (
        "import part\ndef main(ota):\n    ota.auto_confirm = False\n"
        f"    {_SAYS}\n    import bringer\n    bringer.bring('/data/{AFTER}.tar')\n"
        "    while True:\n        ota.handle()\n"
    ),
}


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


@dataclass(frozen=True)
class Scenario:
    """What `new` does when it runs, and whether the board was updated before it gets it.

    With *new_keys* the board takes only what is signed, and `new` brings other keys.
    """

    name: str
    app: str
    updated_before: bool = True
    new_keys: bool = False

    @property
    def is_good(self) -> bool:
        """Whether `new` is to be confirmed, and not taken back."""
        return self.app == "good"


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first-update", "good", updated_before=False),
        Scenario("update", "good"),
        Scenario("raises", "raises"),
        Scenario("never-confirmed", "resets"),
        Scenario("hangs", "hangs"),
        Scenario("undecided", "undecided"),
        Scenario("new-keys", "good", new_keys=True),
    )
}
# Those that the power is cut in.
CUT_SCENARIOS = ("first-update", "update", "raises", "never-confirmed", "new-keys")


@functools.cache
def release(version: str, app: str = "good", keys: bytes = b"") -> bytes:
    """Return the image of *version*, several files and more than two sectors of flash.

    It brings *keys*, if there are any.
    """
    files = _files(version, app) | ({"ota.keys": keys} if keys else {})
    return _build(version, files)


def _files(version: str, app: str) -> dict[str, bytes]:
    files = {
        "app.py": APPS[app].format(version=version).encode(),
        "lib/part.py": _PART.format(version=version).encode(),
        "pages/table.bin": random.Random(version).randbytes(1500),
    }
    if version == OLDER:
        files["gone.py"] = b"# in no later version\n"
    return files


def _build(version: str, files: dict[str, bytes]) -> bytes:
    return image.build(name="small", version=version, sequence=SEQUENCES[version], files=files)


def twin(version: str) -> bytes:
    """Return an image as whole and as large as that of *version*, with another content."""
    files = _files(version, "good") | {"pages/table.bin": random.Random("twin").randbytes(1500)}
    return _build(version, files)
