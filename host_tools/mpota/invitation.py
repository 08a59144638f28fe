"""The first half of an upload: invite the board, prove the password, be dialled by the board."""

import hashlib
import re
import secrets
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from mpota.outcomes import (
    NoAnswerError,
    NoConnectionError,
    PasswordNeededError,
    RefusedError,
    UnexpectedReplyError,
    WrongPasswordError,
    printable,
)

_AUTHENTICATE = 200  # command
_CHALLENGE = re.compile(r"AUTH ([0-9a-fA-F]{32})")
_CHALLENGES_LIMIT = 4
_DATAGRAM_LIMIT = 512  # bytes


def classic_response(password: str, nonce: str, cnonce: str) -> str:
    """Answer a nonce: 32 hex digits that only who knows the password can tell."""
    secret = hashlib.md5(password.encode()).hexdigest()
    return hashlib.md5(f"{secret}:{nonce}:{cnonce}".encode()).hexdigest()


class Invitation:
    """Bring a board to connect.

    `listener` is a non-blocking TCP socket that listens, `inviter` a UDP socket connected to
    `board`, an (IP address, port).
    """

    answer_s = 10.0  # for a datagram's answer; espota.py's, as is connect_s
    resend_s = 2.5  # between invitations, since a datagram can get lost
    settle_s = 0.3  # for the last of several answers, when several invitations went out
    connect_s = 10.0

    def __init__(
        self,
        listener: socket.socket,
        inviter: socket.socket,
        board: tuple[str, int],
        state: Callable[[str], None],
    ):
        self._listener, self._inviter = listener, inviter
        self._ip, self._board = board[0], f"{board[0]}:{board[1]}"
        self._state = state
        self._port = listener.getsockname()[1]
        self._invitations = 0
        self._port_closed = False

    def run(self, data: bytes, command: int, password: str) -> socket.socket:
        """Give the connection that the board has made. Raises an UploadError."""
        digest = hashlib.md5(data).hexdigest()
        self._state(f"inviting {self._board}")
        answer = self._invite(f"{command} {self._port} {len(data)} {digest}\n")
        if answer is None:
            raise NoAnswerError(
                f"nothing listens on UDP port {self._board.rpartition(':')[2]} of {self._ip}: "
                "check address and port, and that the board's application starts the listener"
                if self._port_closed
                else f"no answer from {self._board} by UDP: check the address, that no firewall "
                "blocks UDP, and that the board's application calls handle()"
            )
        challenges = 0
        while isinstance(answer, str) and answer.startswith("AUTH"):
            challenges += 1
            if challenges > _CHALLENGES_LIMIT:
                raise NoAnswerError("the board asks for the password again and again: restart it")
            answer = self._authenticate(self._last_answer(answer), password)
        if isinstance(answer, str):
            self._judge(answer)
            self._state(f"waiting for the board to connect to TCP port {self._port}")
            answer = self._await(time.monotonic() + self.connect_s, [self._listener])
        if answer is None:
            raise NoConnectionError(
                f"the board answered but did not connect to TCP port {self._port} of this "
                "computer, where a firewall may block it: give a port with -P and open that port"
            )
        return answer

    def _authenticate(self, challenge: str, password: str) -> str | socket.socket:
        found = _CHALLENGE.fullmatch(challenge)
        if not found:
            raise UnexpectedReplyError(
                f"the board asks for another kind of authentication ({printable(challenge)!r}): "
                "update it with the tool that belongs to it"
            )
        if not password:
            raise PasswordNeededError(
                "the board asks for a password: give it in the environment variable "
                "MPOTA_PASSWORD, or with -a"
            )
        self._state("authenticating")
        cnonce = secrets.token_hex(16)
        response = classic_response(password, found[1], cnonce)
        # Sent once: a board may count a response that comes twice as a guess.
        answer = self._ask(f"{_AUTHENTICATE} {cnonce} {response}\n", self.answer_s)
        if answer is None:
            raise NoAnswerError("the board asked for the password and then fell silent: try again")
        return answer

    def _judge(self, answer: str) -> None:
        if answer.startswith("Authentication Failed"):
            raise WrongPasswordError(
                "the board does not take this password: check it and try again"
            )
        if answer.startswith("ERR"):
            raise RefusedError(answer.removeprefix("ERR:"))
        if answer != "OK":
            raise UnexpectedReplyError(
                f"what answers at {self._board} is no ArduinoOTA board (it said "
                f"{printable(answer)!r}): check address and port"
            )

    def _invite(self, message: str) -> str | socket.socket | None:
        """Send invitations until there is an answer; once anything came nothing is sent again.

        To a board with an update running, one more invitation is an error.
        """
        deadline = time.monotonic() + self.answer_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._invitations += 1
            if answer := self._ask(message, min(left_s, self.resend_s)):
                return answer
        return None

    def _ask(self, message: str, timeout_s: float) -> str | socket.socket | None:
        """Send a datagram; give its answer, or the board's connection, or None.

        A connection stands for an answer that got lost.
        """
        self._send(message.encode("ascii"))
        return self._await(time.monotonic() + timeout_s, [self._listener, self._inviter])

    def _send(self, datagram: bytes) -> None:
        try:
            with suppress(ConnectionRefusedError):  # tells of the datagram before, sends nothing
                self._inviter.send(datagram)
                return
            self._port_closed = True
            self._inviter.send(datagram)
        except OSError as error:
            raise NoAnswerError(
                f"cannot reach {self._ip} from here ({error.strerror}): check the address and "
                "the network"
            ) from error

    def _await(self, until: float, sockets: list[socket.socket]) -> str | socket.socket | None:
        """Give what comes first in time: the board's connection or, from a datagram, its text."""
        while (left_s := until - time.monotonic()) > 0:
            ready = select.select(sockets, [], [], left_s)[0]
            if self._listener in ready and (connection := self._accept()):
                return connection
            if self._inviter in ready and (answer := self._receive()):
                return answer
        return None

    def _accept(self) -> socket.socket | None:
        try:
            connection, (ip, _) = self._listener.accept()
        except OSError:  # it went away again
            return None
        if ip == self._ip:
            return connection
        connection.close()
        self._state(f"turned away {ip}, which is not the board")
        return None

    def _receive(self) -> str:
        try:
            return self._inviter.recv(_DATAGRAM_LIMIT).decode("ascii", "replace").strip()
        except OSError:  # an ICMP message: nobody listens, so far
            self._port_closed = True
            return ""

    def _last_answer(self, answer: str) -> str:
        """Give the last of the answers: the board forgets a nonce when it makes the next."""
        until = time.monotonic() + (self.settle_s if self._invitations > 1 else 0)
        while later := self._await(until, [self._inviter]):
            answer = later if later.startswith("AUTH") else answer
        return answer
