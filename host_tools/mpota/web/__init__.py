"""Uploads and requests by HTTP, to the update page of a board."""

import contextlib
import hashlib
import time
from collections.abc import Callable

from mpota.arduino import FILE_SYSTEM, FLASH, TIED
from mpota.arduino.outcomes import BusyError, RefusedError, UnexpectedReplyError
from mpota.arduino.status import Status
from mpota.errors import CommandError
from mpota.web.client import Answer, Client

_KINDS = {FLASH: "", FILE_SYSTEM: "&data", TIED: "&data=tied"}  # command → part of the address
_TRIES = 4  # if the board asks to try again later
_RESULT_S = 60.0  # for the result after the last byte; espota.py's
# A board that restarts to make room joins its network within this time.
_RESTART_S = 30.0


def upload(
    data: bytes,
    *,
    url: str,
    user: str,
    command: int = FLASH,
    password: str = "",
    classic: bool = False,
    name: str = "the image",
    progress: Callable[[int, int], None] = lambda done, total: None,
    state: Callable[[str], None] = lambda text: None,
) -> None:
    """Send `data` to the board whose page is at `url`; return when the board has taken them.

    `command` is one of those in `mpota.arduino`. `progress` is called with the number of bytes that
    were sent and their total, `state` with a line for each step. The address that is asked for
    holds the image's SHA-256, so the proof of the password covers the image. Raises CommandError:
    an UploadError of `arduino.outcomes` for each failure.
    """
    if not data:
        raise CommandError(f"{name} is empty, so there is nothing to send: check the file")
    client = Client(url, user, password, classic)
    # This first request makes the board ask for the password before the image is sent. A board that
    # is short of memory cannot answer it, and takes the update after a restart.
    with contextlib.suppress(BusyError):
        _status(client.ask("GET", "/status"))
    path = f"?sha256={hashlib.sha256(data).hexdigest()}{_KINDS[command]}"
    for left in reversed(range(_TRIES)):
        state(f"sending {name}")
        answer = client.ask("POST", path, data, patience_s=_RESULT_S, progress=progress)
        if answer.status == 200:
            return
        if not left or answer.status != 503 or answer.again_s is None:
            break
        state(f"the board says: {answer.text}")
        _wait_for(client, answer.again_s)
    raise RefusedError(answer.text, bool(password))


def ask_status(client: Client, patience_s: float = 10.0) -> Status:
    """Return the status of a board. Raises an UploadError: BusyError during an update."""
    return _status(client.ask("GET", "/status", patience_s=patience_s))


def _status(answer: Answer) -> Status:
    if answer.status != 200:
        raise RefusedError(answer.text)
    fields = answer.json
    if fields.get("state") == "updating":
        raise BusyError("the board is busy with an update: try again when it has ended")
    outcome = str(fields.pop("outcome", ""))
    lines = [f"{key} {value}" for key, value in fields.items()]
    try:
        return Status.parse("\n".join([*lines, f"outcome {outcome}"]))
    except UnexpectedReplyError as error:
        raise UnexpectedReplyError(
            "the device at this address is not a board with mpota: check the address"
        ) from error


def _wait_for(client: Client, seconds: float) -> None:
    # The board may be back earlier or later than it said.
    time.sleep(min(seconds, 3))
    until = time.monotonic() + max(seconds, _RESTART_S)
    while time.monotonic() < until:
        try:
            client.ask("GET", "/status", patience_s=3)
            return
        except CommandError:
            time.sleep(0.5)
