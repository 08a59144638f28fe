"""Avahi finds and resolves simulated boards, in a network namespace of the test's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# One worker takes all of them, so that Avahi and the boards run once.
pytestmark = [pytest.mark.xdist_group("avahi"), pytest.mark.long]

HERE = Path(__file__).parent
TOOLS = ("unshare", "ip", "dbus-daemon", "avahi-daemon", "avahi-browse", "avahi-resolve")
NAMESPACES = ["unshare", "--net", "--mount", *(["--map-root-user"] if os.getuid() else [])]
PATIENCE_S = 240
# Debian installs its daemons in folders that are in the PATH of root only.
ENVIRONMENT = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return what Avahi told: question → answer."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=ENVIRONMENT["PATH"])]
    if missing:
        pytest.skip(
            f"{', '.join(missing)} not found: install avahi-daemon, avahi-utils and iproute2"
        )
    probe = [*NAMESPACES, "sh", "-c", "ip link set lo up && mount -t tmpfs tmpfs /run"]
    made = subprocess.run(probe, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if made.returncode:
        pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
    folder = tmp_path_factory.mktemp("avahi")
    path = os.pathsep.join(filter(None, [*sys.path]))
    done = subprocess.run(
        [*NAMESPACES, sys.executable, str(HERE / "avahi_host.py"), str(folder)],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        env=ENVIRONMENT | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def test_a_board_is_listed_with_what_it_tells(told):
    (line,) = told["browse"]
    *fields, texts = line.split(";")
    assert ";".join(fields) == ("=;lo;IPv4;garden;_arduino._tcp;local;garden.local;127.0.0.2;8266")
    assert set(texts.split('" "')[1:-1]) >= {"app=small", "version=1", "board=ESP8266_GENERIC"}
    assert '"auth_upload=no"' in texts and '"state=healthy"' in texts


def test_its_page_is_listed(told):
    (line,) = told["page"]
    assert line.split(";")[6:] == ["garden.local", "127.0.0.2", "80", '"path=/update"']


def test_its_services_are_found_without_being_asked_for(told):
    assert told["services"] == ["Web Site", "_arduino._tcp"]


def test_its_name_is_resolved(told):
    assert told["resolve"] == ["garden.local\t127.0.0.2"]


def test_two_boards_with_the_same_name_are_both_listed(told):
    assert told["two"] == [
        ["garden", "_arduino._tcp", "local", "garden.local", "127.0.0.2", "8266"],
        ["garden-2", "_arduino._tcp", "local", "garden-2.local", "127.0.0.3", "8266"],
    ]


def test_a_board_leaves_its_name_to_avahi_which_has_it(told):
    assert told["conflict"] == ["avahi-host-2.local\t127.0.0.4"]
    assert told["owner"] == ["avahi-host.local\t127.0.0.1"]


def test_a_board_that_restarts_goes_and_comes_back(told):
    assert told["events"] == ["+", "-", "+"]


def test_a_board_that_comes_back_with_another_address_is_found_there(told):
    assert told["moved"] == [
        ["garden", "_arduino._tcp", "local", "garden.local", "127.0.0.5", "8266"]
    ]
