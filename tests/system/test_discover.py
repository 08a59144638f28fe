"""`mpota discover`, and boards that are called by their names, on simulated boards."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from device import APP, Device
from mpota.arduino.outcomes import UnknownHostError
from mpota.arduino.sockets import resolve
from mpota.discover import Found, address_of, discover
from test_mdns import until
from zeroconf import IPVersion, ServiceInfo, Zeroconf

PREFIX = f"d{os.getpid()}-"


def mpota(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "mpota", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=200,
        env=os.environ | {"COLUMNS": "120"} | environment,
    )  # fmt: skip


@contextlib.contextmanager
def boards(folder: Path, *names: str, **settings: object) -> Iterator[list[Device]]:
    """Run boards of these names, each with this test's prefix, until all have them."""
    with contextlib.ExitStack() as stack:
        devices = []
        for name in names:
            (folder / name).mkdir()
            device = Device(folder / name, mdns=True, hostname=PREFIX + name, **settings)
            devices.append(stack.enter_context(device))
        for name, device in zip(names, devices, strict=True):
            device.board.wait_for(f"mdns: this board is {PREFIX}{name}.local")
        yield devices


def ours(found: list[Found]) -> list[Found]:
    """Leave out the boards of other tests, which run at the same time."""
    return [board for board in found if board.name.startswith(PREFIX)]


def test_boards_are_found_with_what_they_tell(tmp_path):
    with (
        boards(tmp_path, "open", port=8300) as (first,),
        boards(tmp_path, "strict", password="geheim") as (second,),
    ):
        until(lambda: [it.state for it in ours(discover(1))] == ["healthy", "healthy"])
        assert ours(discover()) == [
            Found(PREFIX + "open", first.board.ip, 8300, "small", "1", "healthy", False),
            Found(PREFIX + "strict", second.board.ip, 8266, "small", "1", "healthy", True),
        ]
        table = mpota("discover")
        assert table.returncode == 0, table.stderr
        lines = [line.split() for line in table.stdout.splitlines()]
        assert lines[0] == ["name", "address", "application", "version", "state", "auth"]
        assert [line for line in lines if line[0].startswith(PREFIX)] == [
            [f"{PREFIX}open", f"{first.board.ip}:8300", "small", "1", "healthy", "open"],
            [f"{PREFIX}strict", second.board.ip, "small", "1", "healthy", "password"],
        ]
        told = mpota("discover", "--json", "--wait-s", "2")
        assert {
            "name": f"{PREFIX}strict", "address": second.board.ip, "port": 8266,
            "application": "small", "version": "1", "state": "healthy", "auth": True,
        } in json.loads(told.stdout)  # fmt: skip


def test_watch_tells_what_comes_changes_and_goes(tmp_path):
    command = [sys.executable, "-u", "-m", "mpota", "discover", "--watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        events = []

        def read():
            for line in watching.stdout:
                event = json.loads(line)
                if event["name"].startswith(PREFIX):
                    events.append((event["event"], event["version"], event["state"]))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            with boards(tmp_path, "watched", confirm_s=0.1) as (device,):
                until(lambda: events and events[-1][1:] == ("1", "healthy"))
                assert events[0][0] == "found"
                del events[:]
                device.update()
                until(lambda: events and events[-1][1:] == ("2", "healthy"))
                # The board may already be healthy when it is found again.
                assert events[0] == ("gone", "1", "healthy")
                assert events[1] in (("found", "2", "trial"), ("found", "2", "healthy"))
        finally:
            watching.kill()
            reader.join()


def test_watch_ends_when_nobody_reads_any_more():
    def show(name):
        zeroconf.register_service(
            ServiceInfo(
                "_arduino._tcp.local.", f"{PREFIX}{name}._arduino._tcp.local.", port=8266,
                parsed_addresses=["127.0.0.1"],
            )
        )  # fmt: skip

    command = [sys.executable, "-m", "mpota", "discover", "--watch"]
    with (
        Zeroconf(ip_version=IPVersion.V4Only) as zeroconf,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as watching,
    ):
        try:
            show("first")
            assert watching.stdout.readline().startswith("found ")
            watching.stdout.close()  # as `head -1` does
            show("second")
            _, said = watching.communicate(timeout=60)
            assert said == ""
        finally:
            watching.kill()


def test_a_name_takes_the_place_of_an_address(tmp_path):
    with boards(tmp_path, "named", password="geheim") as (device,):
        name = PREFIX + "named"
        assert address_of(name) == resolve(name) == resolve(f"{name}.local") == device.board.ip
        image = tmp_path / "next.img"
        image.write_bytes(device.next_image())
        done = mpota("upload", image, "-i", name, MPOTA_PASSWORD="geheim")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("small 2: confirmed\n")
        told = mpota("status", f"{name}.local", "--json", MPOTA_PASSWORD="geheim")
        (status,) = json.loads(told.stdout)
        assert (status["board"], status["version"]) == (f"{name}.local", "2")
        # If nothing is on trial, the board itself says so.
        refused = mpota("confirm", name, MPOTA_PASSWORD="geheim")
        assert "no version is on trial" in refused.stderr


def test_a_name_that_no_board_has():
    with pytest.raises(UnknownHostError, match="'mpota discover' lists boards"):
        resolve(f"{PREFIX}nobody.local")


def test_a_pattern_stands_for_several_boards(tmp_path):
    with boards(tmp_path, "a-1", "a-2", "b-1", port=8301) as devices:
        image = tmp_path / "next.img"
        image.write_bytes(devices[0].next_image())
        done = mpota("upload", image, "-i", f"{PREFIX}a-*")
        assert done.returncode == 0, done.stderr
        last = [line.split() for line in done.stdout.splitlines()[-3:]]
        assert last == [
            ["board", "small", "2"], [f"{PREFIX}a-1", "confirmed"], [f"{PREFIX}a-2", "confirmed"],
        ]  # fmt: skip
        assert not [line for line in devices[2].board.lines if "update: " in line]
        missing = mpota("upload", image, "-i", f"{PREFIX}c-*")
        assert missing.returncode == 1
        assert f"no board is named like {PREFIX}c-*" in missing.stderr


def test_when_too_many_have_failed_no_other_is_begun(tmp_path):
    broken = APP.replace("while True", "raise ValueError('broken')\n    while True")
    with boards(tmp_path, "c-1", "c-2", "c-3") as devices:
        image = tmp_path / "broken.img"
        image.write_bytes(devices[0].next_image(broken))
        pattern = f"{PREFIX}c-*"
        done = mpota("upload", image, "-i", pattern, "--at-once", 1, "--max-failures", 1)
        assert done.returncode == 1, done.stderr
        first, *others = done.stdout.splitlines()[-3:]
        assert first.startswith(f"{PREFIX}c-1  taken back: raised ValueError"), first
        for line in others:
            assert line.rstrip().endswith("not begun: 1 board has failed"), line
        for device in devices[1:]:
            assert not [line for line in device.board.lines if "update: " in line]
