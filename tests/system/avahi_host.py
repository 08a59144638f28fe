"""A host with Avahi, and simulated boards, in a network namespace: run by test_avahi.py.

Started as `python avahi_host.py FOLDER` in new namespaces for network and mounts; prints a line of
JSON for each question that Avahi was asked, as [what was asked, its answer].
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from device import Device
from mpota.sim import Board

_DBUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <type>system</type>
 <listen>unix:path=/run/dbus/system_bus_socket</listen>
 <auth>EXTERNAL</auth>
 <policy context="default">
  <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
 </policy>
</busconfig>
"""
_AVAHI = """[server]
host-name=avahi-host
use-ipv4=yes
use-ipv6=no
allow-interfaces=lo
[publish]
publish-workstation=no
[wide-area]
enable-wide-area=no
"""
_PATIENCE_S = 60


@contextlib.contextmanager
def avahi(folder: Path) -> Iterator[None]:
    """Run Avahi, which has the name `avahi-host.local`, with a D-Bus of its own."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    for name in ("dbus", "avahi-daemon"):
        Path("/run", name).mkdir()
    (folder / "dbus.conf").write_text(_DBUS)
    (folder / "avahi.conf").write_text(_AVAHI)
    with contextlib.ExitStack() as stack:
        for command in (
            ["dbus-daemon", f"--config-file={folder / 'dbus.conf'}", "--nofork", "--nopidfile"],
            ["avahi-daemon", "-f", str(folder / "avahi.conf"), "--no-drop-root", "--no-chroot",
             "--no-rlimits"],
        ):  # fmt: skip
            process = subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr)
            stack.enter_context(process)
            stack.callback(process.terminate)
            until(lambda: Path("/run/dbus/system_bus_socket").exists())
        until(lambda: ask("avahi-resolve", "-n4", "avahi-host.local"))
        yield


def until(is_so) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)


def ask(*command: str) -> list[str]:
    """Return the lines that one of Avahi's tools prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return sorted(line for line in done.stdout.splitlines() if not line.startswith("+"))


def tell(what: str, answer: object) -> None:
    print(json.dumps([what, answer]), flush=True)


def device(folder: Path, name: str, **settings: object) -> Device:
    (folder / name).mkdir()
    return Device(folder / name, mdns=True, **settings)


def at(address: str, device: Device) -> Device:
    """Return the board an address that the test knows."""
    device.board = Board(device.board.flash, ip=address, join_s=3, watchdog_ms=1000)
    return device


def main() -> None:
    folder = Path(sys.argv[1])
    browse = ("avahi-browse", "-rtp", "_arduino._tcp")
    with avahi(folder):
        settings = {"hostname": "garden", "web": True, "confirm_s": 0.1}
        with at("127.0.0.2", device(folder, "first", **settings)) as first:
            first.board.wait_for("this board is")
            until(lambda: any("state=healthy" in line for line in ask(*browse)))
            tell("browse", ask(*browse))
            tell("page", ask("avahi-browse", "-rtp", "_http._tcp"))
            tell(
                "services",
                sorted({line.split(";")[4] for line in ask("avahi-browse", "-atr", "-p")}),
            )
            tell("resolve", ask("avahi-resolve", "-n4", "garden.local"))
            with at("127.0.0.3", device(folder, "second", hostname="garden")) as second:
                second.board.wait_for("this board is garden-2.local")
                until(lambda: len(ask(*browse)) == 2)
                tell("two", sorted(line.split(";")[3:9] for line in ask(*browse)))
            # Avahi itself already has the name of this board.
            with at("127.0.0.4", device(folder, "third", hostname="avahi-host")) as third:
                third.board.wait_for("this board is avahi-host-2.local")
                tell("conflict", ask("avahi-resolve", "-n4", "avahi-host-2.local"))
                tell("owner", ask("avahi-resolve", "-n4", "avahi-host.local"))
            # One board leaves with a goodbye, and comes back.
            with subprocess.Popen(
                ["avahi-browse", "-p", "_arduino._tcp"], stdout=subprocess.PIPE, text=True
            ) as watching:
                end = threading.Timer(_PATIENCE_S, watching.kill)
                end.start()
                events = []
                for line in watching.stdout:
                    event = line.split(";")
                    if event[3] != "garden":
                        continue
                    events.append(event[0])
                    if events == ["+"]:
                        first.upload(first.next_image())
                    if len(events) == 3:
                        break
                end.cancel()
                watching.kill()
            tell("events", events)
        # The board leaves without a goodbye, and comes back with another address.
        with Board(first.board.flash, ip="127.0.0.5", join_s=3) as moved:
            moved.wait_for("this board is garden.local")
            until(
                lambda: ask("avahi-resolve", "-n4", "garden.local") == ["garden.local\t127.0.0.5"]
            )
            # The other boards have left without a goodbye too, and are still listed for a while.
            found = [line.split(";")[3:9] for line in ask(*browse)]
            tell("moved", [fields for fields in found if fields[0] == "garden"])


if __name__ == "__main__":
    main()
