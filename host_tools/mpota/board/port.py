"""Serial ports of this computer: find them, open them, and wait for them."""

import errno
import sys
import time
from collections.abc import Callable
from pathlib import Path

import serial
from serial.tools import list_ports

from mpota.errors import CommandError

BAUD = 115200  # the speed of the boot ROM in its serial mode, and of MicroPython's console

_READ_TIMEOUT_S = 0.1
_RESET_S = 0.1
_REOPEN_TRIES = 50
_LOOK_S = 0.1  # how often it is looked whether a port is there


def serial_ports() -> list[str]:
    """Return a text for each adapter that is plugged in: its device, then its description."""
    found = [p for p in sorted(list_ports.comports()) if p.vid is not None]
    return [f"{p.device} ({p.description})" for p in found]


def only_port() -> str:
    """Return the only port. Raises CommandError where there is none, or more than one."""
    ports = serial_ports()
    if not ports:
        raise CommandError(
            "no serial adapter is plugged in: connect the board by a USB cable that carries data, "
            "or name the port with --port"
        )
    if len(ports) > 1:
        raise CommandError(f"there is more than one port, {', '.join(ports)}: choose with --port")
    return ports[0].partition(" ")[0]


def is_there(port: str) -> bool:
    """Whether *port*, a device or a URL of pyserial, is plugged in."""
    if "://" in port or sys.platform == "win32":
        return "://" in port or port in (p.device for p in list_ports.comports())
    return Path(port).exists()


def wait_for(port: str, is_plugged: bool, tick: Callable[[], None] = lambda: None) -> None:
    """Wait until *port* is plugged in, or until it is unplugged; *tick* is called meanwhile."""
    while is_there(port) is not is_plugged:
        tick()
        time.sleep(_LOOK_S)


def open_port(
    port: str, *, dtr: bool | None = None, rts: bool | None = None, baud: int = BAUD
) -> serial.Serial:
    """Open *port* for this program alone.

    *dtr* and *rts* are levels for these lines of the adapter; None leaves them to the system.
    Raises CommandError.
    """
    connection = serial.serial_for_url(
        port, baud, timeout=_READ_TIMEOUT_S, exclusive=True, do_not_open=True
    )
    if dtr is not None:
        connection.dtr = dtr
    if rts is not None:
        connection.rts = rts
    try:
        connection.open()
    except (serial.SerialException, OSError) as error:
        raise CommandError(_why_not_open(port, error)) from error
    return connection


def reopen_port(port: str, *, dtr: bool | None = None, rts: bool | None = None) -> serial.Serial:
    """Wait until *port* is plugged in again, and open it.

    It is tried several times: for a moment, the port may exist and not be ready.
    """
    tries = 0
    while True:
        wait_for(port, True)
        time.sleep(_LOOK_S)
        try:
            return open_port(port, dtr=dtr, rts=rts)
        except CommandError:
            tries += 1
            if tries > _REOPEN_TRIES:
                raise


def has_lines(connection: serial.Serial) -> bool:
    """Whether the adapter has the lines DTR and RTS, which can reset a board."""
    try:
        connection.dtr = connection.dtr
    except OSError:
        return False
    return True


def press_reset(connection: serial.Serial) -> None:
    """Reset the board by RTS, as its button does."""
    connection.dtr = False
    connection.rts = True
    time.sleep(_RESET_S)
    connection.rts = False


def _why_not_open(port: str, error: Exception) -> str:
    code, text = getattr(error, "errno", None), str(error)
    if code == errno.ENOENT or "FileNotFoundError" in text:
        there = ", ".join(serial_ports()) or "none"
        return f"there is no port {port} (found: {there}): name another one with --port"
    if code == errno.EACCES and sys.platform != "win32":
        return (
            f"no permission to open {port}: add yourself to the group that owns it (Debian: 'sudo "
            "usermod -aG dialout $USER'), log in again and try again"
        )
    # On Windows, pyserial's text has the name of Python's error, and a reason in the user's own
    # language.
    if code == errno.EBUSY or "exclusively lock" in text or "PermissionError" in text:
        return (
            f"{port} is in use by another program: end it (a monitor, an IDE, a second mpota) and "
            "try again"
        )
    return f"cannot open {port} ({text}): check the port and the cable"
