"""Find boards by mDNS: those that offer Arduino's service `_arduino._tcp` in this network.

docs/SPEC.md describes, in "mDNS", what a board tells of itself. Boards with an Arduino sketch tell
less.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from zeroconf import (
    AddressResolverIPv4,
    IPVersion,
    ServiceBrowser,
    ServiceInfo,
    ServiceStateChange,
    Zeroconf,
)

from mpota.arduino.outcomes import printable
from mpota.errors import CommandError

_SERVICE = "_arduino._tcp.local."
_LOCAL = ".local"
# A board that has just answered another host does not answer for a second: this is longer.
PATIENCE_S = 3.0
_INFO_MS = 1500

Event = Literal["found", "changed", "gone"]


@dataclass(frozen=True)
class Found:
    """A board that was found. Its texts are printable; "" stands for one that it does not tell."""

    name: str
    address: str
    port: int
    application: str = ""
    version: str = ""
    state: str = ""  # one of those that `mpota status` knows; boards without mpota do not tell it
    auth: bool = False  # whether it has a password

    @classmethod
    def of(cls, info: ServiceInfo) -> "Found | None":
        """Return the board that `info` describes, None where it has no address."""
        addresses = info.parsed_addresses(IPVersion.V4Only)
        if not addresses:
            return None
        texts = {
            key.decode("utf-8", "replace"): printable((value or b"").decode("utf-8", "replace"))
            for key, value in info.properties.items()
        }
        return cls(
            name=printable(info.name.removesuffix(f".{_SERVICE}")),
            address=addresses[0],
            port=info.port or 0,
            application=texts.get("app", ""),
            version=texts.get("version", ""),
            state=texts.get("state", ""),
            auth=texts.get("auth_upload") == "yes",
        )


class Watch:
    """Call `tell` for each event of a board, while the context is open.

    `tell` is called in another thread. Entering the context may raise CommandError.
    """

    def __init__(self, tell: Callable[[Event, Found], None]):
        self._tell = tell
        self._known: dict[str, Found] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Watch":
        self._zeroconf = _start()
        ServiceBrowser(self._zeroconf, _SERVICE, handlers=[self._on_change])
        return self

    def __exit__(self, *_: object) -> None:
        self._zeroconf.close()

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Removed:
            with self._lock:
                gone = self._known.pop(name, None)
            if gone:
                self._tell("gone", gone)
            return
        info = ServiceInfo(service_type, name)
        if not info.request(zeroconf, _INFO_MS) or not (found := Found.of(info)):
            return
        with self._lock:
            before = self._known.get(name)
            self._known[name] = found
        if found != before:
            self._tell("changed" if before else "found", found)


def discover(wait_s: float = PATIENCE_S) -> list[Found]:
    """Return the boards that are found within `wait_s` seconds, in the order of their names.

    Raises CommandError.
    """
    found: dict[str, Found] = {}

    def note(event: Event, board: Found) -> None:
        if event == "gone":
            found.pop(board.name, None)
        else:
            found[board.name] = board

    with Watch(note):
        time.sleep(wait_s)
    return [found[name] for name in sorted(found)]


def address_of(host: str, wait_s: float = PATIENCE_S) -> str | None:
    """Ask by mDNS for the address of a host, such as `garden` or `garden.local`.

    Returns None where no host has this name. Raises CommandError.
    """
    name = host.lower().removesuffix(".").removesuffix(_LOCAL) + _LOCAL + "."
    with _start() as zeroconf:
        resolver = AddressResolverIPv4(name)
        resolver.request(zeroconf, wait_s * 1000)
        addresses = resolver.parsed_addresses(IPVersion.V4Only)
    return addresses[0] if addresses else None


def _start() -> Zeroconf:
    try:
        return Zeroconf(ip_version=IPVersion.V4Only)
    except OSError as error:
        raise CommandError(
            f"cannot look for boards by mDNS ({error.strerror or error}): check that this computer "
            "has a network, and that no firewall blocks UDP port 5353"
        ) from error
