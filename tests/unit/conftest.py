"""Tests of device modules: each file runs under MicroPython, on a simulated board of its own.

The board has lib/ota in its system ROM, the test files in /tests, tests/vectors and two signed
images in /vectors, a small application in slot b, which its memory map shows, and more heap than a
real one, since the test itself is compiled on it.
"""

import ast
import gzip
import json
import random
from pathlib import Path

import data_files
import gzip_files
import pytest
import romfs_rules
from boards import SETTINGS, application_image, own_ip, simulated_rom
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from mpota.board.files import settings_file
from mpota.errors import DamagedImageError
from mpota.image import build, romfs
from mpota.image.keys import binary_keys, load_private_key
from mpota.image.signature import sign
from mpota.sim import Board, create_flash

_HERE = Path(__file__).parent
_VECTORS = _HERE.parent / "vectors"
_TIMEOUT_S = 600
_CAMPAIGN_TIMEOUT_S = 1200

# The application in slot b: bytes that stay in flash.
_PLACE = b"DATA = b'bytes of flash that nobody copies'\n"
_RELEASE = {"name": "place", "version": "1", "sequence": 1}

_START = """
import sys
sys.path.append("/tests")
import run_tests
run_tests.run({!r}, {!r})
"""


def pytest_pycollect_makemodule(module_path, parent):
    return DeviceTestFile.from_parent(parent, path=module_path)


class DeviceTestFile(pytest.File):
    def collect(self):
        self.names = [
            node.name
            for node in ast.parse(self.path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
        self.said = None
        for name in self.names:
            test = DeviceTest.from_parent(self, name=name)
            # All of a file in one worker, since they are one run of one board.
            test.add_marker(pytest.mark.xdist_group(self.path.stem))
            if self.path.stem.endswith("_campaign"):
                test.add_marker(pytest.mark.campaign)
            yield test

    def run(self, folder: Path) -> list[str]:
        """Return what the board said, running it the first time that a test of the file asks."""
        if self.said is None:
            files = settings_file(SETTINGS)
            option = self.config.option
            campaign = {"whole": option.campaigns, "seed": option.seed}
            files["/campaign.json"] = json.dumps(campaign).encode()
            for source in _HERE.glob("*.py"):
                files[f"/tests/{source.name}"] = source.read_bytes()
            for vectors in _VECTORS.rglob("*"):
                if vectors.is_file():
                    name = vectors.relative_to(_HERE.parent).as_posix()
                    files[f"/{name}"] = vectors.read_bytes()
            if self.path.stem.startswith(("test_inflate", "test_delta")):
                for name, data in gzip_files.files().items():
                    files[f"/vectors/gzip/{name}"] = data
            if self.path.stem.startswith("test_data"):
                files |= _data_images()
            for bits in (2048, 4096):
                files[f"/vectors/signed-{bits}.img"] = _signed_image(bits)
            files["/boot.py"] = _START.format(self.path.stem, self.names).encode()
            slots = {"b": application_image({"place.py": _PLACE}, **_RELEASE)}
            create_flash(folder / "unit.img", files, system=simulated_rom(), slots=slots)
            with Board(folder / "unit.img", ip=own_ip(), heap="4m") as board:
                try:
                    whole = self.config.option.campaigns
                    board.wait_for("^done$", _CAMPAIGN_TIMEOUT_S if whole else _TIMEOUT_S)
                except TimeoutError:
                    board.lines.append("bad: the tests did not come to an end")
                self.said = list(board.lines)
                if board.violation:
                    self.said = [f"bad: flash: {board.violation}"]
        return self.said


def _data_images() -> dict[str, bytes]:
    """Return littlefs images of each kind, a signed one, and files that are not such images."""
    images = {f"littlefs/{name}": data for name, data in data_files.images().items()}
    images["signed-littlefs"] = sign(images["littlefs/2.1-4096-python"], _key(2048))
    images["spiffs"] = data_files.spiffs_image()
    images["fat"] = data_files.fat_image()
    files = {name: content * 3 for name, content in data_files.FILES.items()}
    images["data.tar"] = data_files.tar_image(files | {"words": _words()})
    images["data.tar.gz"] = gzip.compress(images["data.tar"], 9, mtime=0)
    images["data.tar.gz.signed"] = sign(images["data.tar.gz"], _key(2048))
    images["data.tar.signed.gz"] = gzip.compress(sign(images["data.tar"], _key(2048)), 9, mtime=0)
    images["littlefs.gz"] = gzip.compress(images["littlefs/2.1-4096-python"], 9, mtime=0)
    images["keys-2048"] = binary_keys([_key(2048).public_key()])
    return {f"/vectors/{name}": data for name, data in images.items()}


def _words() -> bytes:
    """Return a text in whose gzip references reach far back."""
    numbers = random.Random(1)
    words = [numbers.randbytes(40) for _ in range(200)]
    return b"".join(numbers.choice(words) for _ in range(600))


def _signed_image(bits: int) -> bytes:
    """Return an application image, signed with the test key of *bits*."""
    image = build(name="sample", version="1.2.3", sequence=7, files={"app.mpy": b"M" * 3000})
    return sign(image, _key(bits))


def _key(bits: int) -> RSAPrivateKey:
    return load_private_key(_VECTORS / "keys" / f"test-key-{bits}.pem")


class DeviceTest(pytest.Item):
    def runtest(self):
        folder = self.config._tmp_path_factory.mktemp(self.parent.path.stem)
        said = self.parent.run(folder)
        if f"ok {self.name}" not in said:
            raise DeviceTestFailed("\n".join(said))
        for line in said:
            if line.startswith("taken "):
                _judge(bytes.fromhex(line.removeprefix("taken ")))
        self.user_properties += _figures(said, self.name)

    def repr_failure(self, excinfo):
        if isinstance(excinfo.value, DeviceTestFailed):
            return f"on the simulated board:\n{excinfo.value}"
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, f"{self.path.stem}::{self.name}"


def _judge(data: bytes) -> None:
    """Check the ROMFS in *data*, an image that the board has taken, by independent code."""
    problem = "" if romfs_rules.is_good(data) else "it breaks the rules"
    try:
        romfs.read(data)
    except DamagedImageError as error:
        # A board finds the first of two files of one name, and no harm is done.
        if "is there twice" not in str(error):
            problem = str(error)
    if problem:
        raise DeviceTestFailed(f"taken, though {problem}: {data.hex()}")


def _figures(said: list[str], test: str) -> list[tuple[str, str]]:
    """Return the figures that *test* has printed: its lines `figure NAME: VALUE`."""
    figures: list[tuple[str, str]] = []
    for line in said[: said.index(f"ok {test}")]:
        if line.startswith("ok ") or line.startswith("bad "):
            figures = []
        elif line.startswith("figure "):
            name, _, value = line.removeprefix("figure ").rpartition(": ")
            figures.append((name, value))
    return figures


class DeviceTestFailed(Exception):
    """A test on the board did not say that it passed."""
