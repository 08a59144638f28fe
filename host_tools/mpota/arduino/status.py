"""Requests to a board: what it runs and how its last update ended; confirm or take back a version.

The requests are this project's own, "Asking the board" in docs/SPEC.md: UDP datagrams to the port
of the ArduinoOTA listener.
"""

import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from mpota.arduino.handshake import STRONG_CHALLENGE, check_password, request_response
from mpota.arduino.outcomes import (
    BusyError,
    NoAnswerError,
    PasswordNeededError,
    RequestRefusedError,
    UnexpectedReplyError,
    WrongPasswordError,
    printable,
)
from mpota.arduino.sockets import resolve, udp_to

Command = Literal["status", "confirm", "reject", "revert"]

# Longer than the 8 s that a board makes one wait after wrong passwords.
PATIENCE_S = 10.0
_REQUEST_BYTES = 256
_DATAGRAM_LIMIT = 512  # bytes
_BUSY = "ERROR[15]"
_OUTCOME_BYTES = 48  # the room in the boot record: a longer outcome is cut off there


@dataclass(frozen=True)
class Status:
    """What a board tells of itself; the texts are printable, "" where it does not tell one.

    `name`, `version`, `sequence` and `slot` are those of the application that runs.
    """

    name: str
    version: str
    sequence: int  # 0: no application runs
    slot: str
    state: str  # healthy, idle, trial, services or alone
    trial_left_s: int | None  # None outside of a trial
    free_heap_bytes: int
    firmware: str
    uptime_s: int
    address: str
    outcome: str  # how the last update ended
    digest: str = ""  # the beginning of the SHA-256 of the ROMFS that runs, in hex
    data: str = ""  # the beginning of the SHA-256 of the image that /data came from, in hex
    last_check: str = ""  # how the last question to a server ended, cut off after 48 characters

    @classmethod
    def parse(cls, said: str) -> "Status":
        """Read a board's answer. Raises UnexpectedReplyError."""
        lines, _, outcome = f"\n{said}".partition("\noutcome")
        values = dict(line.split(" ", 1) for line in lines.split("\n") if " " in line)
        state, _, left = values.get("state", "").partition(" ")
        try:
            return cls(
                name=printable(values.get("name", "")),
                version=printable(values.get("version", "")),
                sequence=int(values.get("sequence", 0)),
                slot=printable(values["slot"]).strip("-"),
                state=printable(state),
                trial_left_s=int(left) if state == "trial" else None,
                free_heap_bytes=int(values["heap"]),
                firmware=printable(values["firmware"]),
                uptime_s=int(values["uptime"]),
                address=printable(values["address"]),
                last_check=printable(values.get("pull", "")),
                outcome=_whole(outcome),
                digest=_hex(values.get("digest", "")),
                data=_hex(values.get("data", "")),
            )
        except (KeyError, ValueError) as error:
            raise UnexpectedReplyError(
                f"the board's answer is not a status (it said "
                f"{printable(said)!r}): update it with the tool that belongs to it"
            ) from error


def _hex(text: str) -> str:
    return text if all(c in "0123456789abcdef" for c in text) else ""


def _whole(outcome: str) -> str:
    text = printable(outcome)
    return f"{text}…" if len(text.encode()) >= _OUTCOME_BYTES else text


def ask_status(
    board_ip: str, board_port: int, password: str = "", patience_s: float = PATIENCE_S
) -> Status:
    """Return the status of a board. Raises an UploadError: BusyError during an update."""
    return Status.parse(request("status", board_ip, board_port, password, patience_s))


def request(
    command: Command,
    board_ip: str,
    board_port: int,
    password: str = "",
    patience_s: float = PATIENCE_S,
) -> str:
    """Send `command` to a board; return its answer, which is not empty. Raises an UploadError."""
    check_password(password)
    board = (resolve(board_ip), board_port)
    with udp_to(board) as udp:
        return _Request(udp, f"{board[0]}:{board[1]}", command, password).run(patience_s)


class _Request:
    """One request over `udp`, a socket that receives from the board alone."""

    resend_s = 1.0  # between two datagrams: one can get lost
    # A board that is busy for longer has an update; a host that cannot prove the password keeps it
    # busy for less time.
    busy_s = 3.0
    proof_s = 3.0  # how long to wait for the answer to the proof of the password

    def __init__(self, udp: socket.socket, board: str, command: Command, password: str):
        self._udp, self._board = udp, board
        self._command, self._password = command, password

    def run(self, patience_s: float) -> str:
        """Return the answer. Raises an UploadError."""
        begun = time.monotonic()
        until = begun + patience_s
        answer = ""
        while not answer and time.monotonic() < until:
            answer = self._ask(_datagram(self._command), until)
            if answer.startswith("AUTH"):
                answer = self._prove(answer)
                if not answer and self._command != "status":
                    raise NoAnswerError(
                        f"{self._board} did not say whether it did this: 'mpota status' tells"
                    )
            elif _BUSY in answer and time.monotonic() + self.resend_s < min(
                until, begun + self.busy_s
            ):
                time.sleep(self.resend_s)
                answer = ""
        if not answer:
            raise NoAnswerError(
                f"no answer from {self._board} by UDP: check the address, that no firewall blocks "
                "UDP, and that the board's application calls handle(); only boards with mpota "
                "answer this"
            )
        return self._judged(answer)

    def _prove(self, challenge: str) -> str:
        """Prove the password; return the board's answer, "" where none comes."""
        found = STRONG_CHALLENGE.fullmatch(challenge)
        if not found:
            raise UnexpectedReplyError(
                f"the board asks for another kind of authentication ({printable(challenge)!r}): "
                "update it with the tool that belongs to it"
            )
        if not self._password:
            raise PasswordNeededError(
                "the board asks for a password: give it in the environment variable "
                "MPOTA_PASSWORD, or with -a"
            )
        cnonce = secrets.token_hex(32)
        response = request_response(self._password, found[1], cnonce, self._command)
        # The very same datagram again does no harm: a nonce is good once.
        proof = _datagram(self._command, cnonce, response)
        return self._ask(proof, time.monotonic() + self.proof_s, after=challenge)

    def _judged(self, answer: str) -> str:
        if answer.startswith("Authentication Failed"):
            raise WrongPasswordError(
                "the board does not take this password: check it and try again"
            )
        if _BUSY in answer:
            raise BusyError("the board takes an update at the moment: try again when it has ended")
        if answer.startswith("ERR"):
            raise RequestRefusedError(answer.removeprefix("ERR:"))
        return answer

    def _ask(self, datagram: bytes, until: float, after: str = "") -> str:
        """Send a datagram until there is an answer; "" where none comes in time.

        `after` is the previous answer; a second copy of it is ignored.
        """
        while (now := time.monotonic()) < until:
            resend_at = min(now + self.resend_s, until)
            with suppress(OSError):  # an ICMP message: nobody listens, as while a board restarts
                self._udp.send(datagram)
            while answer := self._receive(resend_at):
                if answer != after:
                    return answer
        return ""

    def _receive(self, until: float) -> str:
        """Wait for a datagram; "" where none comes in time."""
        while (left_s := until - time.monotonic()) > 0:
            self._udp.settimeout(left_s)
            try:
                return self._udp.recv(_DATAGRAM_LIMIT).decode("utf-8", "replace").strip()
            except TimeoutError:
                return ""
            except OSError:  # an ICMP message as well; the board may answer in a moment
                time.sleep(min(0.1, max(0, until - time.monotonic())))
        return ""


def _datagram(*words: str) -> bytes:
    text = " ".join(("MPOTA", *words))
    return text.ljust(_REQUEST_BYTES - 1).encode("ascii") + b"\n"
