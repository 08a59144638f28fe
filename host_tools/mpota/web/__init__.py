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

_KINDS = {FLASH: "", FILE_SYSTEM: "&data", TIED: "&data=tied"}  # in an address, by command
_TRIES = 4  # where the board says that it is to be tried again
_RESULT_S = 60.0  # for the result after the last byte, as with espota.py
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
    """Send `data` to the board whose page is at `url`; return when the board has taken it.

    `command` is one of `arduino`'s. `progress` gets the bytes that were sent and their total,
    `state` a line for each step. The proof of the password is of the image's SHA-256 as well.
    Raises CommandError: an UploadError of `arduino.outcomes` for each failure.
    """
    if not data:
        raise CommandError(f"{name} is empty, so there is nothing to send: check the file")
    client = Client(url, user, password, classic)
    # The board asks for the password here, before anything is sent. One that is short of memory has
    # none for this answer, and takes the update after a restart.
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
    """Give the status of a board. Raises an UploadError, BusyError while it takes an update."""
    return _status(client.ask("GET", "/status", patience_s=patience_s))


def _status(answer: Answer) -> Status:
    if answer.status != 200:
        raise RefusedError(answer.text)
    fields = answer.json
    if fields.get("state") == "updating":
        raise BusyError("the board takes an update at the moment: try again when it has ended")
    outcome = str(fields.pop("outcome", ""))
    lines = [f"{key} {value}" for key, value in fields.items()]
    try:
        return Status.parse("\n".join([*lines, f"outcome {outcome}"]))
    except UnexpectedReplyError as error:
        raise UnexpectedReplyError(
            "what answers there is not a board with mpota: check the address"
        ) from error


def _wait_for(client: Client, seconds: float) -> None:
    # The board may be back earlier, or later.
    time.sleep(min(seconds, 3))
    until = time.monotonic() + max(seconds, _RESTART_S)
    while time.monotonic() < until:
        try:
            client.ask("GET", "/status", patience_s=3)
            return
        except CommandError:
            time.sleep(0.5)
