"""The host's side of ArduinoOTA's protocol, with which an image is sent to a board.

The host invites the board by UDP, the board connects to the host by TCP, and the host sends the
image. Arduino's espota.py and the ArduinoOTA library for the ESP8266 do the same, except for the
stronger handshake.
"""

from collections.abc import Callable

from mpota.arduino.handshake import Announcement, Auth, Handshake, check_password
from mpota.arduino.invitation import Invitation
from mpota.arduino.sockets import resolve, tcp_listener, udp_to
from mpota.arduino.transfer import Transfer
from mpota.errors import CommandError

# Commands: update the application; the data; the data together with the application that follows.
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
    """Send `data` to a board; return the handshake when the board has said that it took them.

    `board_ip` may be a host name. The board connects back to `host_port` (0: any free one) of
    `host_ip`. With `auth` "strict" only the SHA-256 handshake is used, with "classic" only that of
    Arduino's espota.py, with "auto" the classic one if the board does not answer the other.
    `progress` is called with the number of bytes that the board has acknowledged and their total,
    `state` with a line for each step, `agreed` with the handshake before the first byte is sent,
    and `sent` just before the last bytes are sent. Raises CommandError: an UploadError of
    `outcomes` for each failure.
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
