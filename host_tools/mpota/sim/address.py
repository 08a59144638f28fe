"""The address of a simulated board: one of this computer's own addresses."""

import ipaddress
import socket

from mpota.errors import CommandError
from mpota.sim.rom_modules import control

_OTA_PORT = 8266


def check_address(ip: str) -> None:
    """Raise CommandError if a simulated board cannot have the address *ip*, or if it is in use."""
    try:
        fits = ipaddress.IPv4Address(ip).is_loopback
    except ValueError:
        fits = False
    if not fits:
        raise CommandError(f"{ip} is not an address of 127.0.0.0/8: give one like 127.0.0.3")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, _OTA_PORT))
        except OSError as error:
            raise CommandError(
                f"{ip} is taken, UDP port {_OTA_PORT} ({error.strerror}): is a simulated board "
                "running there? End that, or give another address"
            ) from error


def port_here(ip: str, port: int) -> int:
    """Return the port of this computer that the *port* of the board at *ip* is."""
    if port < 1024:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((ip, port))
            except PermissionError:
                return port + control.PORTS_HIGHER_BY
            except OSError:
                pass  # the board has it
    return port
