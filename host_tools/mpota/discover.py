"""Find boards by mDNS: those that offer Arduino's service `_arduino._tcp` in this network.

What a board tells is in "mDNS" of docs/SPEC.md. Arduino's own boards tell less.
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
# Longer than the second for which a board is silent when it has just answered another host.
PATIENCE_S = 3.0
_INFO_MS = 1500

Event = Literal["found", "changed", "gone"]


@dataclass(frozen=True)
class Found:
    """A board that was found; texts are printable, "" where the board does not tell one."""

    name: str
    address: str
    port: int
    application: str = ""
    version: str = ""
    state: str = ""  # as `mpota status` has it; boards without mpota do not tell it
    auth: bool = False  # whether it has a password

    @classmethod
    def of(cls, info: ServiceInfo) -> "Found | None":
        """Give the board that `info` tells of, None where it tells no address."""
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
    """Call `tell` of boards, in a thread of its own, while the context is open.

    Entering it raises CommandError.
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
    """Give the boards that are found in `wait_s` seconds, by their names. Raises CommandError."""
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
    """Give the address of the host `garden` or `garden.local` by mDNS; None: nobody has the name.

    Raises CommandError.
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
