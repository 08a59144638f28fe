"""The host's side of ArduinoOTA's protocol: invite by UDP, be dialled by TCP, send the image.

The exchange is that of Arduino's espota.py and ArduinoOTA library for the ESP8266, apart from the
stronger handshake.
"""

import os
import socket
from collections.abc import Callable

from mpota.arduino.handshake import Announcement, Auth, Handshake
from mpota.arduino.invitation import Invitation
from mpota.arduino.outcomes import HostPortError, NoAnswerError, UnknownHostError
from mpota.arduino.transfer import Transfer
from mpota.errors import CommandError

FLASH, FILE_SYSTEM = 0, 100  # commands
BOARD_PORT = 8266


def upload(
    data: bytes,
    *,
    board_ip: str,
    board_port: int = BOARD_PORT,
    host_ip: str = "0.0.0.0",
    host_port: int = 0,
    command: int = FLASH,
    password: str = "",
    auth: Auth = "strict",
    name: str = "the image",
    progress: Callable[[int, int], None] = lambda done, total: None,
    state: Callable[[str], None] = lambda text: None,
    agreed: Callable[[Handshake], None] = lambda handshake: None,
) -> None:
    """Send `data` to a board, and return when the board has said that it took it.

    `board_ip` may be a host name. The board connects back to `host_port` (0: any free one) of
    `host_ip`. `auth` "strict" allows the SHA-256 handshake only, "classic" the one of Arduino's
    espota.py only, "auto" the latter where the board does not answer the former. `progress` gets
    the bytes that the board has acknowledged and their total, `state` a line for each step,
    `agreed` the handshake before the first byte is sent. Raises CommandError: an UploadError of
    `outcomes` for each failure.
    """
    if not data:
        raise CommandError(f"{name} is empty, so there is nothing to send: check the file")
    try:
        password.encode()
    except UnicodeEncodeError as error:
        raise CommandError("the password is no text in UTF-8: check how it is written") from error
    board = (_resolve(board_ip), board_port)
    host = _resolve(host_ip)
    with _listener(host, host_port) as listener, _inviter(host, board) as inviter:
        invitation = Invitation(listener, inviter, board, state)
        announcement = Announcement.of(data, command)
        connection, handshake = invitation.run(announcement, password, auth)
        with connection:
            agreed(handshake)
            state(f"sending {name}, {len(data)} bytes")
            Transfer(connection, len(data), progress, state).run(data)


def _resolve(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnknownHostError(
            f"no address is known for {host!r}: check the name, or give the IP address"
        ) from error
    return found[0][4][0]


def _listener(host: str, port: int) -> socket.socket:
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


def _inviter(host: str, board: tuple[str, int]) -> socket.socket:
    inviter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        inviter.bind((host, 0))
        inviter.connect(board)  # from now on it hears no one else
    except OSError as error:
        inviter.close()
        raise NoAnswerError(
            f"cannot reach {board[0]} from here ({error.strerror}): check the address and the "
            "network"
        ) from error
    return inviter
