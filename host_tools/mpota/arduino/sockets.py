"""The host's sockets towards a board, with errors for people where the network gives none."""

import os
import re
import socket

from mpota.arduino.outcomes import HostPortError, NoAnswerError, UnknownHostError

# A host name without a domain, as boards have one.
_BOARD_NAME = re.compile(r"[A-Za-z0-9-]{1,63}")


def resolve(host: str) -> str:
    """Return the IP address of an address or a name. Raises UnknownHostError.

    A name such as `garden.local` is looked up by mDNS; `garden` is too, when the system's resolver
    does not know it.
    """
    is_local = host.rstrip(".").lower().endswith(".local")
    if is_local and (address := _by_mdns(host)):
        return address
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if _BOARD_NAME.fullmatch(host) and (address := _by_mdns(host)):
            return address
        raise UnknownHostError(
            f"no address is known for {host!r}: check the name ('mpota discover' lists boards), or "
            "give the IP address"
        ) from error
    return str(found[0][4][0])


def _by_mdns(host: str) -> str | None:
    from mpota.discover import address_of  # not at the top: zeroconf takes long to load

    return address_of(host)


def tcp_listener(host: str, port: int) -> socket.socket:
    """Return a non-blocking socket that listens on `port` (0: any free one) of the address `host`.

    Raises HostPortError.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # else an upload shortly before would keep the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise HostPortError(
            f"cannot listen on TCP port {port} of {host} ({error.strerror}): give another port "
            "with -P, or this computer's own address with -I"
        ) from error
    return listener


def udp_to(board: tuple[str, int], host: str = "0.0.0.0") -> socket.socket:
    """Return a UDP socket at the address `host` that receives from `board` alone.

    `board` is an (IP address, port). Raises NoAnswerError.
    """
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.bind((host, 0))
        udp.connect(board)  # from now on the socket receives from the board alone
    except OSError as error:
        udp.close()
        raise NoAnswerError(
            f"cannot reach {board[0]} from here ({error.strerror}): check the address and the "
            "network"
        ) from error
    return udp
