"""Follow what a board says on its serial port, until it can be updated over the air."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import serial

from mpota.errors import CommandError

_JOINED = re.compile(r"\] I: wifi: joined (.*), address (\S+)")
_READY = re.compile(r"\] I: arduino: (\S+) listens on port (\d+)")
_NO_NETWORK = re.compile(r"\] E: wifi: (.*: (?:the key is wrong|there is no such network))")
_CORRUPT = "filesystem starting at sector"
_SILENT_S = 3.0  # after this silence, it is supposed that the reset has not started the board
_LINE_LIMIT = 400

_PRESS_RESET = "press RST on the board, or switch its power off and on"


@dataclass(frozen=True)
class Ready:
    """A board that can be updated over the air: its host name, address and port for updates."""

    hostname: str
    address: str
    port: int


def lines(connection: serial.Serial) -> Iterator[str | None]:
    """Yield each line from the board, and None whenever it has sent nothing for a moment.

    Raises OSError when the port goes away.
    """
    pending = b""
    while True:
        came = connection.read(connection.in_waiting or 1)
        if not came:
            yield None
            continue
        *whole, pending = (pending + came).split(b"\n")
        for line in whole:
            yield _text(line)
        pending = pending[-_LINE_LIMIT:]


def follow(
    connection: serial.Serial,
    on_line: Callable[[str], None],
    patience_s: float,
    start_otherwise: Callable[[], None],
    tell: Callable[[str], None],
) -> Ready:
    """Wait until the board listens for updates, for *patience_s* at most.

    *on_line* is called with each line of the board, *tell* with lines for people. If the board says
    nothing for a while, *start_otherwise* is called once: it starts the board in another way.
    Raises CommandError.
    """
    began = time.monotonic()
    is_silent, tries = True, 0
    address = problem = None
    try:
        for line in lines(connection):
            waited_s = time.monotonic() - began
            if line is None:
                if is_silent and waited_s > _SILENT_S * (tries + 1) and tries < 2:
                    start_otherwise() if tries == 0 else tell(
                        f"the board says nothing: {_PRESS_RESET}"
                    )
                    tries += 1
                if waited_s > patience_s:
                    raise CommandError(_why_not_ready(is_silent, address, problem, patience_s))
                continue
            if not line:
                continue
            is_silent = False
            on_line(line)
            if _CORRUPT in line:
                raise CommandError(
                    "MicroPython finds no file system on the board: its flash is smaller than it "
                    "claims, or --keep-firmware kept another build; flash it without "
                    "--keep-firmware"
                )
            if found := _JOINED.search(line):
                address = found[2]
            elif found := _NO_NETWORK.search(line):
                problem = found[1]
            elif (found := _READY.search(line)) and address:
                return Ready(found[1], address, int(found[2]))
    except OSError as error:
        raise CommandError(
            "the port went away while the board started: everything is written; plug the board in "
            "and watch it with 'mpota monitor'"
        ) from error
    raise AssertionError("lines() does not end")


def _why_not_ready(
    is_silent: bool, address: str | None, problem: str | None, patience_s: float
) -> str:
    written = f"everything is written and verified, but in {patience_s:.0f} s"
    if is_silent:
        return (
            f"{written} the board said nothing: {_PRESS_RESET}, and watch it with 'mpota monitor'"
        )
    if problem:
        return (
            f"{written} the board did not join the network ({problem}): correct this with 'mpota "
            "config set ssid=NAME' or 'mpota config set key'; the network must be one of 2.4 GHz"
        )
    if address is None:
        return (
            f"{written} the board got no address from the network: wait for the router (DHCP), "
            "and watch the board with 'mpota monitor'"
        )
    return f"{written} the board did not begin to listen: see what it says with 'mpota monitor'"


def _text(line: bytes) -> str:
    # The boot ROM sends at another speed, which gives characters that cannot be printed.
    text = line.decode(errors="replace").rstrip("\r")
    return "".join(c for c in text if c.isprintable() and c != "\ufffd")
