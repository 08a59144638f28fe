"""deploy/: the files are what their tools take, and do what docs/SERVER.md says when they run."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import postgresql
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DEPLOY = ROOT / "deploy"
PATIENCE_S = 300
NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
# Debian's daemons are where only root looks.
ENVIRONMENT = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


def facts(folder: Path, what: str, *tools: str) -> dict[str, object]:
    """Run *what* of containers.py in namespaces of its own, and return what it tells."""
    missing = [
        t for t in (*tools, "unshare", "ip") if not shutil.which(t, path=ENVIRONMENT["PATH"])
    ]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found")
    probe = [*NAMESPACES, "sh", "-c", "ip link add br0 type bridge && mount -t tmpfs tmpfs /run"]
    made = subprocess.run(probe, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if made.returncode:
        pytest.skip(f"no namespaces can be made here: {made.stderr.strip()}")
    path = os.pathsep.join(filter(None, [*sys.path]))
    done = subprocess.run(
        [*NAMESPACES, sys.executable, str(HERE / "containers.py"), what, str(folder)],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        env=ENVIRONMENT | {"PYTHONPATH": path},
    )  # fmt: skip
    logs = [f"{path.name}: {path.read_text()[-2000:]}" for path in folder.glob("*.log")]
    assert done.returncode == 0, "\n".join([done.stderr[-4000:], *logs])
    return dict(json.loads(line) for line in done.stdout.splitlines())


def test_the_compose_file_is_as_the_compose_specification_has_it(tmp_path):
    def check(path: Path) -> subprocess.CompletedProcess[str]:
        command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
        return subprocess.run([sys.executable, *command], capture_output=True, text=True)

    done = check(DEPLOY / "docker-compose.yml")
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text((DEPLOY / "docker-compose.yml").read_text().replace("volumes:", "volume:"))
    assert check(wrong).returncode != 0


def test_the_services_of_the_compose_file_serve_a_board_together(tmp_path):
    if not postgresql.find():
        pytest.skip("there is no PostgreSQL (Debian: apt-get install postgresql)")
    told = facts(tmp_path, "compose", "nginx", "pg_isready", "setpriv")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert told["pip"] == ["install", "--quiet", f"/usr/src/{project['name']}[server]"]
    assert "server" in project["optional-dependencies"]
    assert told["without the secret"] == 401
    assert told["pending"] == 304
    # The board's own address, which nginx tells.
    assert told["boards"] == [["5CCF7F000001", "172.28.0.1"]]
    assert told["the image"] == [200, True, True]
    assert told["from nginx"] == [200, True, True]
    assert (told["the page"], told["metrics"]) == (200, 403)
    assert len(told["log"]) == 1
    assert told["ended"] == 0


def test_the_unit_of_systemd_is_right_and_its_command_serves(tmp_path):
    told = facts(tmp_path, "systemd", "systemd-analyze")
    assert told["verify"] == [0, ""]
    assert told["pending"] == 304
    assert told["ended"] == 0
    assert told["written"] == ["server.db"]
