"""What is published: the wheel, and the device package for `mip` and for a frozen build.

`python tests/host/test_packaging.py` writes package.json anew.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The environment without PYTHONPATH, by which the sources of the checkout may be found.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def package_json():
    """Return what package.json must be: a list of the device package's files for `mip`."""
    sources = sorted((ROOT / "lib").rglob("*.py"))
    names = [source.relative_to(ROOT / "lib").as_posix() for source in sources]
    urls = [[name, f"lib/{name}"] for name in names]
    return json.dumps({"version": VERSION, "urls": urls, "deps": []}, indent=1) + "\n"


def test_package_json_lists_every_file_of_the_device_package():
    assert (ROOT / "package.json").read_text() == package_json()


def test_every_published_version_is_the_same():
    assert f'version="{VERSION}"' in (ROOT / "manifest.py").read_text()
    assert re.search(rf"^## \[{re.escape(VERSION)}\]", (ROOT / "CHANGELOG.md").read_text(), re.M)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder's `bin` where the built wheel is installed, without the checkout.

    The libraries are those of the environment that runs the tests.
    """
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run(built, check=True, cwd=folder)
    (wheel,) = folder.glob("mpota-*.whl")
    target = folder / "environment"
    venv.create(target, with_pip=False)
    (site,) = target.glob("lib/python*/site-packages")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    # Behind the wheel, so that this copy of mpota comes first.
    (site / "libraries.pth").write_text(libraries + "\n")
    return target / "bin"


def test_the_wheel_packs_an_application_from_another_folder(installed, tmp_path):
    application = tmp_path / "garden"
    application.mkdir()
    (application / "app.py").write_text("def main(ota):\n    pass\n")
    options = ["--name", "garden", "--version", "1", "--sequence", "1", "--with-ota"]
    options += ["--without", "pull"]
    packed = subprocess.run(
        [installed / "python", "-m", "mpota", "pack", "garden", "-o", "garden.img", *options],
        cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert packed.returncode == 0, packed.stderr
    where = [installed / "python", "-c", "import mpota.cli; print(mpota.cli.__file__)"]
    used = subprocess.run(
        where, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT
    ).stdout
    assert used.startswith(str(installed.parent))
    assert b"garden" in (tmp_path / "garden.img").read_bytes()


if __name__ == "__main__":
    (ROOT / "package.json").write_text(package_json())
