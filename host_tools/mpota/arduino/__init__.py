"""The host's side of ArduinoOTA's protocol: invite by UDP, be dialled by TCP, send the image.

The exchange is that of Arduino's espota.py and ArduinoOTA library for the ESP8266, apart from the
stronger handshake.
"""

from collections.abc import Callable

from mpota.arduino.handshake import Announcement, Auth, Handshake, check_password
from mpota.arduino.invitation import Invitation
from mpota.arduino.sockets import resolve, tcp_listener, udp_to
from mpota.arduino.transfer import Transfer
from mpota.errors import CommandError

# Commands: an application, data, and data that are tried with the application that comes next.
FLASH, FILE_SYSTEM, TIED = 0, 100, 101
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
    sent: Callable[[], None] = lambda: None,
    agreed: Callable[[Handshake], None] = lambda handshake: None,
) -> Handshake:
    """Send `data` to a board, and return the handshake when the board has said that it took it.

    `board_ip` may be a host name. The board connects back to `host_port` (0: any free one) of
    `host_ip`. `auth` "strict" allows the SHA-256 handshake only, "classic" the one of Arduino's
    espota.py only, "auto" the latter where the board does not answer the former. `progress` gets
    the bytes that the board has acknowledged and their total, `state` a line for each step,
    `agreed` the handshake before the first byte is sent; `sent` is called when the last one is
    under way. Raises CommandError: an UploadError of `outcomes` for each failure.
    """
    if not data:
        raise CommandError(f"{name} is empty, so there is nothing to send: check the file")
    check_password(password)
    board = (resolve(board_ip), board_port)
    host = resolve(host_ip)
    with tcp_listener(host, host_port) as listener, udp_to(board, host) as inviter:
        invitation = Invitation(listener, inviter, board, state)
        announcement = Announcement.of(data, command)
        connection, handshake = invitation.run(announcement, password, auth)
        with connection:
            agreed(handshake)
            state(f"sending {name}")
            Transfer(connection, len(data), progress, state, sent).run(data)
    return handshake
