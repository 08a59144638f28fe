"""Every way that an image comes to a board with keys."""

from collections.abc import Callable
from pathlib import Path

import pytest
from device import APP, COMMANDED_APP, FAILED, REFUSED, Device
from mpota import arduino
from mpota.arduino.outcomes import RefusedError
from own_transport import send as send_to_application
from own_transport import serving
from raw_host import PASSWORD
from signing import SignedDevice
from web_client import basic, form, post
from web_site import StrongFile, WebSite

# A function that sends an image, or data, and returns the board's error number (0: it was taken).
Send = Callable[..., int]

# How an application feeds the Updater. The bits of *size* above the lowest 24 are the command.
# After a refusal, each further call of the Updater is refused with the same error.
_TAKE = """
    {prepare}
    try:
        updater.begin(size & 0xFFFFFF, size >> 24)
        updater.write_stream(peer)
        {end}
    except OTAError as e:
        for again in (updater.end, lambda: updater.end(True), lambda: updater.write(b"M"),
                      lambda: updater.abort(0), updater.end):
            try:
                again()
            except OTAError as other:
                assert other.code == updater.error == e.code
        assert not updater.is_running
        raise
"""


def updating(prepare: str = "pass", end: str = "updater.end()") -> str:
    """Return that application; it does *prepare* before an update and *end* after its last byte."""
    return serving(_TAKE.replace("{prepare}", prepare).replace("{end}", end))


def _by_espota(device: Device, data: bytes, is_data: bool, auth: str) -> int:
    start = device.said
    command = arduino.FILE_SYSTEM if is_data else arduino.FLASH
    try:
        device.upload(data, command=command, auth=auth)
    except RefusedError as error:
        device.board.wait_for(f"{FAILED}|{REFUSED}", start=start)
        return error.code
    return 0


def _by_classic_handshake(device: Device, data: bytes, is_data: bool = False) -> int:
    return _by_espota(device, data, is_data, "classic")


def _by_strong_handshake(device: Device, data: bytes, is_data: bool = False) -> int:
    return _by_espota(device, data, is_data, "strict")


def _by_application(device: Device, data: bytes, is_data: bool = False) -> int:
    command = arduino.FILE_SYSTEM if is_data else arduino.FLASH
    return send_to_application(device, data, len(data) | command << 24)


def _by_pull(device: Device, data: bytes, is_data: bool = False) -> int:
    update = "update_fs" if is_data else "update"
    with WebSite() as site:
        url = site.add("/", StrongFile(data))
        start = device.command(f"(ota.pull.{update}({url!r}), ota.pull.last_error)")
        match = device.board.wait_for(r"^gives \(\d, (-?\d+)\)|pull: restart", start=start)
    return int(match[1] or 0)


def _by_page(device: Device, data: bytes, is_data: bool = False, **headers: str) -> int:
    device.board.wait_for("web: http")
    path = "?data" if is_data else ""
    answer = post(device.board.ip, data, path, Authorization=basic("mpota", PASSWORD), **headers)
    assert ("Update Success" in answer.text) == (answer.status == 200), answer
    return 0 if answer.status == 200 else int(answer.text.partition("ERROR[")[2].partition("]")[0])


def _by_form(device: Device, data: bytes, is_data: bool = False) -> int:
    name = "filesystem" if is_data else "image"
    body = form((name, "image.bin", data), ("go", None, b"Update"))
    return _by_page(device, body, Content_Type="multipart/form-data; boundary=xyz")


# Most boards have a password, since a board without one makes a pause after some failures.
TRANSPORTS: dict[str, tuple[Send, str, dict[str, object]]] = {
    "classic": (_by_classic_handshake, APP, {"password": PASSWORD}),
    "SHA-256": (_by_strong_handshake, APP, {"password": PASSWORD, "auth": "strict"}),
    "application": (_by_application, updating(), {}),
    "pull": (_by_pull, COMMANDED_APP, {"heap": "72k"}),
    "page": (_by_page, APP, {"web": True, "password": PASSWORD, "heap": "80k"}),
    "form": (_by_form, APP, {"web": True, "password": PASSWORD, "heap": "80k"}),
}
each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


def board_for(transport: str, folder: Path, **settings: object) -> tuple[SignedDevice, Send]:
    """Return a board, switched off, and the function that sends it an image."""
    send, app, own = TRANSPORTS[transport]
    return SignedDevice(folder, app, **own | settings), send


def ready(device: Device) -> None:
    """Wait until its application takes images, where it is that which does."""
    if "takes images" in device.app:
        device.board.wait_for("takes images")
