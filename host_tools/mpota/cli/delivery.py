"""What `mpota upload` does once it knows what to send, and to which boards.

It sends the image, waits for the end of the trial, and tells how that ended.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mpota import arduino, web
from mpota.arduino.handshake import Handshake
from mpota.arduino.outcomes import RefusedError
from mpota.arduino.sockets import resolve
from mpota.arduino.status import ask_status
from mpota.arduino.trial import Ending, await_ending, follow
from mpota.cli.boards import NotBegunError, at_once
from mpota.cli.progress import Display, LineProgress
from mpota.errors import CommandError
from mpota.image import compression, delta, sent
from mpota.web.client import Client

if TYPE_CHECKING:
    from mpota.discover import Found

_GOOD, _FAILED, _UNDECIDED = 0, 1, 2  # exit statuses
# A board that refuses a delta with one of these error numbers may take the whole image: not an
# image, bad signature, out of memory, damaged, for a board that runs another version.
_NOT_AS_DELTA = (10, 12, 14, 37, 45)
_STATUS_S = 3.0  # how long to wait for a board's status before an upload
_BEST_TO_WORST = (_GOOD, _UNDECIDED, _FAILED)


DATA = "data"  # stands in a board's outcome where that of an application has the sequence


@dataclass(frozen=True)
class Payload:
    """What is sent: `data`, its `name` for people, and a data image that is sent `before` it.

    `what` is the word for this payload in the outcome of its trial, as the board tells it: an
    application's sequence, or DATA; None where it is not known what the payload is.
    """

    data: bytes
    name: str
    what: str | None = None
    before: bytes | None = None

    @property
    def is_application(self) -> bool:
        """Whether the payload is known to be an application."""
        return self.what not in (None, DATA)

    @property
    def total_bytes(self) -> int:
        """How many bytes are sent in all."""
        return len(self.data) + len(self.before or b"")


@dataclass(frozen=True)
class Delivery:
    """A payload, and how it is sent.

    `wait_s` is for the end of the trial, None: do not wait for it. `user` is the user name for the
    boards' pages; where it is empty, ArduinoOTA's protocol is used. `found` are boards that mDNS
    has found. `most` is how many boards are updated at a time; after `max_failures` failures, no
    other update is begun.
    """

    payload: Payload
    port: int
    host_ip: str
    host_port: int
    password: str
    classic: bool
    wait_s: float | None
    user: str = ""
    found: "Mapping[str, Found]" = field(default_factory=dict)
    most: int | None = None
    max_failures: int | None = None


@dataclass(frozen=True)
class _Result:
    status: int
    line: str
    remedy: str = ""


def deliver(delivery: Delivery, boards: Sequence[str], console: Console, tell_steps: bool) -> int:
    """Send the payload to several boards at the same time; return the exit status.

    Raises CommandError where there is only one board, and its update failed.
    """
    with Display(console, boards, delivery.payload.total_bytes, tell_steps) as display:
        try:
            results = at_once(
                boards,
                lambda board: _deliver_to(board, delivery, display[board]),
                most=delivery.most,
                max_failures=delivery.max_failures,
                has_failed=lambda result: result.status == _FAILED,
            )
        except KeyboardInterrupt:
            _tell_of_interruption([board for board in boards if display[board].is_sent])
            raise
    if len(boards) == 1:
        return _tell(results[0], delivery.payload.name, console)
    return _tell_all(dict(zip(boards, results, strict=True)), delivery.payload.name, console)


def _tell_of_interruption(boards: Sequence[str]) -> None:
    # `boards` are those to which the last byte was sent.
    for board in boards:
        typer.echo(
            f"{board} has the whole image and may still install it: 'mpota status' tells which "
            "version it runs",
            err=True,
        )


def _deliver_to(board: str, delivery: Delivery, shown: LineProgress) -> _Result:
    payload = delivery.payload
    try:
        # The name is looked up once: while the board restarts, nobody answers for it by mDNS.
        address = None if delivery.user else _address(board, delivery)
        tells = _send_changes(board, address, delivery, shown)
        if tells is None:
            if payload.before:
                data = Payload(payload.before, f"the data of {payload.name}")
                first = replace(delivery, payload=data)
                _send(board, address, first, shown, arduino.TIED, payload.total_bytes)
            command = arduino.FILE_SYSTEM if payload.what == DATA else arduino.FLASH
            tells = _send(board, address, delivery, shown, command, payload.total_bytes)
    except CommandError:
        shown.end("failed")
        raise
    shown.end("taken")
    if payload.is_application:
        sent.keep(payload.data)
    if not payload.what:
        return _Result(_GOOD, "the board has verified and taken it")
    if not tells:
        return _Result(
            _GOOD, "the board has verified and taken it, and does not tell whether it works"
        )
    if delivery.wait_s is None:
        return _Result(_GOOD, "the board has verified it, and tries it after a restart")
    if address is None:
        client = Client(board, delivery.user, delivery.password, delivery.classic)
        ending = follow(
            lambda s: web.ask_status(client, s), payload.what, delivery.wait_s, shown.wait
        )
    else:
        ending = await_ending(
            *address, delivery.password, payload.what, delivery.wait_s, shown.wait
        )
    shown.end(ending.verdict)
    return _judged(board, ending, delivery.wait_s)


def _address(board: str, delivery: Delivery) -> tuple[str, int]:
    if found := delivery.found.get(board):
        return found.address, found.port
    return resolve(board), delivery.port


def _send_changes(
    board: str, address: tuple[str, int] | None, delivery: Delivery, shown: LineProgress
) -> bool | None:
    """Send a delta, where this computer still has the image that the board runs.

    Returns what `_send` returns, or None where the whole image must be sent.
    """
    payload = delivery.payload
    is_plain = payload.is_application and not payload.data.startswith(compression.MAGIC)
    if not is_plain or payload.before or delivery.classic or sent.is_empty():
        return None
    try:
        if address is None:
            client = Client(board, delivery.user, delivery.password)
            status = web.ask_status(client, _STATUS_S)
        else:
            status = ask_status(*address, delivery.password, _STATUS_S)
    except CommandError:
        return None  # the upload that follows fails for the same reason, and tells it
    old = sent.find(status.digest)
    changes = delta.make(old, payload.data) if old else payload.data
    if len(changes) >= len(payload.data):
        return None
    shown.say(
        f"{len(changes)} bytes instead of {len(payload.data)}: what has changed since "
        f"{status.name} {status.version}"
    )
    try:
        as_delta = replace(delivery, payload=replace(payload, data=changes))
        return _send(board, address, as_delta, shown, arduino.FLASH, len(changes))
    except RefusedError as error:
        if error.code not in _NOT_AS_DELTA:
            raise
        shown.say(f"the whole image is sent, since the changes were not taken: {error}")
        shown.restart()
        return None


def _send_to_page(
    board: str, delivery: Delivery, shown: LineProgress, command: int, total: int
) -> bool:
    advance = _of_all(delivery, shown, command, total)

    def progress(done: int, of: int) -> None:
        advance(done, of)
        if done == of:
            shown.sent()

    web.upload(
        delivery.payload.data,
        url=board,
        command=command,
        user=delivery.user,
        password=delivery.password,
        classic=delivery.classic,
        name=delivery.payload.name,
        progress=progress,
        state=shown.step,
    )
    return True


def _of_all(
    delivery: Delivery, shown: LineProgress, command: int, total: int
) -> Callable[[int, int], None]:
    """Return a function that adds what was sent before to the progress of one image.

    The data of an application are sent first, the application's image last.
    """
    before = 0 if command == arduino.TIED else total - len(delivery.payload.data)
    return lambda done, _: shown.advance(before + done, total)


def _send(
    board: str,
    address: tuple[str, int] | None,
    delivery: Delivery,
    shown: LineProgress,
    command: int,
    total: int,
) -> bool:
    # Returns whether the board tells its status: boards without mpota know neither the status nor
    # the SHA-256 handshake.
    if address is None:
        return _send_to_page(board, delivery, shown, command, total)
    is_second = len(delivery.payload.data) < total and command != arduino.TIED
    handshake = arduino.upload(
        delivery.payload.data,
        board_ip=address[0],
        board_port=address[1],
        host_ip=delivery.host_ip,
        host_port=delivery.host_port,
        command=command,
        password=delivery.password,
        auth="auto" if delivery.classic else "strict",
        name=delivery.payload.name,
        progress=_of_all(delivery, shown, command, total),
        state=shown.step,
        sent=shown.sent,
        agreed=lambda handshake: None if is_second else _tell_handshake(handshake, shown),
    )
    return handshake.strong


def _tell_handshake(handshake: Handshake, shown: LineProgress) -> None:
    asked = "password proven" if handshake.password_proven else "the board asked for no password"
    if handshake.strong:
        shown.say(f"handshake: SHA-256, {asked}")
        return
    typer.echo(
        f"warning: classic MD5 handshake, {asked}: somebody who can change packets in the network "
        "can replace the image. A board with mpota needs no --classic",
        err=True,
    )


def _judged(board: str, ending: Ending, wait_s: float) -> _Result:
    if ending.verdict == "confirmed":
        return _Result(_GOOD, "confirmed")
    if ending.verdict == "taken back":
        runs = f"{ending.runs} runs again" if ending.runs else "no application runs"
        return _Result(
            _FAILED,
            f"taken back: {ending.why}; {runs}",
            ": see the board's log, correct the release and give it a higher sequence",
        )
    return _Result(
        _UNDECIDED,
        f"not decided within {wait_s:g} s: {ending.why}",
        f": 'mpota status {board}' tells how it ends",
    )


def _tell(result: _Result | CommandError, name: str, console: Console) -> int:
    if isinstance(result, CommandError):
        raise result
    line = f"{name}: {result.line}{result.remedy}"
    if result.status == _FAILED:
        raise CommandError(line)
    if result.status == _UNDECIDED:
        typer.echo(line, err=True)
    else:
        console.print(line)
    return result.status


def _tell_all(results: dict[str, _Result | CommandError], name: str, console: Console) -> int:
    table = Table("board", name, box=None, pad_edge=False, header_style="bold")
    statuses = []
    for board, result in results.items():
        if isinstance(result, NotBegunError):
            result = _Result(_FAILED, str(result))
        elif isinstance(result, CommandError):
            result = _Result(_FAILED, f"failed: {result}")
        table.add_row(Text(board), Text(result.line))
        statuses.append(result.status)
    console.print(table, soft_wrap=False)
    return max(statuses, key=_BEST_TO_WORST.index)
