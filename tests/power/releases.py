"""Releases of the power tests: a small application in four versions, good ones and bad ones.

A scenario is a board that runs `old` and is given `new`.
"""

import functools
import random
from dataclasses import dataclass

from mpota import image

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


@dataclass(frozen=True)
class Scenario:
    """What `new` does when it runs, and whether the board was updated before it gets it."""

    name: str
    app: str
    updated_before: bool = True

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
    )
}
# Those that the power is cut in.
CUT_SCENARIOS = ("first-update", "update", "raises", "never-confirmed")


@functools.cache
def release(version: str, app: str = "good") -> bytes:
    """Return the image of *version*, several files and more than two sectors of flash."""
    return _build(version, _files(version, app))


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
