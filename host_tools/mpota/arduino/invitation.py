"""The first half of an upload: invite the board, prove the password, let the board connect."""

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from mpota.arduino.handshake import STRONG_ONLY, STRONG_PREFIX, Announcement, Auth, Handshake
from mpota.arduino.outcomes import (
    DowngradeError,
    NoAnswerError,
    NoConnectionError,
    PasswordNeededError,
    RefusedError,
    StrongOnlyError,
    UnexpectedReplyError,
    WrongPasswordError,
    printable,
)

_CHALLENGES_LIMIT = 4
_DATAGRAM_LIMIT = 512  # bytes
_LOWEST_DIALLED_PORT = 1024  # boards do not answer an invitation to a lower port (docs/SPEC.md)
_BUSY = "ERROR[15]"
_CLASSIC_BOARD = (
    "this board (or Arduino sketch) speaks only the classic MD5 handshake: --classic allows it"
)


class Invitation:
    """Invite a board, so that it connects to this computer.

    `listener` is a non-blocking TCP socket that listens, `inviter` a UDP socket connected to
    `board`, an (IP address, port).
    """

    # How long to wait for the answer to a datagram. This time and connect_s are espota.py's.
    answer_s = 10.0
    # How long to wait for an answer to the SHA-256 handshake where the classic one may follow, and
    # for each of the answers by which `_reconsidered` tells an Arduino sketch from a board with
    # mpota that could not answer in time.
    strong_answer_s = 1.5
    resend_s = 2.5  # between two invitations: a datagram can get lost
    busy_s = 3.0  # a host without the password can keep a board busy for less than this
    retry_s = 0.5  # between two invitations of a board that is busy
    settle_s = 0.3  # how long to wait for the last answer, when several invitations were sent
    connect_s = 10.0
    # How long to wait for a board that restarts without its application after the password was
    # proven, because its heap is too full: it has to join its network again.
    restart_s = 30.0

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
        self._strong = True  # the handshake in use
        self._strong_seen = False  # whether the board has sent a challenge of the SHA-256 handshake
        self._turned_away = ""  # the last other address than the board's that has connected

    def run(
        self, announcement: Announcement, password: str, auth: Auth
    ) -> tuple[socket.socket, Handshake]:
        """Return the board's connection, and the handshake before it. Raises an UploadError."""
        self._state(f"inviting {self._board}")
        answer: str | socket.socket | None = self._invited(announcement, auth)
        challenges = 0
        while isinstance(answer, str) and answer.startswith("AUTH"):
            challenges += 1
            if challenges > _CHALLENGES_LIMIT:
                raise NoAnswerError(
                    "the board asks for the password again and again: restart the board"
                )
            challenge = self._last_challenge(answer)
            answer = self._authenticate(announcement, challenge, password, auth)
        proven = challenges > 0
        if isinstance(answer, str):
            self._judge(answer, proven)
            self._state(f"waiting for the board to connect to TCP port {self._port}")
            answer = self._await(time.monotonic() + self.connect_s, [self._listener])
        if not isinstance(answer, socket.socket):
            raise self._no_connection()
        return answer, Handshake(self._strong, proven)

    def _no_connection(self) -> NoConnectionError:
        line = f"the board answered but did not connect to TCP port {self._port} of this computer"
        if self._turned_away:
            return NoConnectionError(
                f"{line}; {self._turned_away} did, and was turned away, since {self._ip} was "
                "invited: if that is the same board, reached through a router that changes "
                "addresses (NAT), upload from a computer in the board's own network"
            )
        return NoConnectionError(
            f"{line}, where a firewall may block it: give a port with -P and open that port; a "
            "board behind a router that changes addresses (NAT) needs an upload from a computer in "
            "its own network"
        )

    def _invited(self, announcement: Announcement, auth: Auth) -> str | socket.socket:
        """Invite the board in the ways that `auth` allows, until it answers."""
        classic, strong = (announcement.invitation(self._port, strong=s) for s in (False, True))
        self._strong = auth != "classic"
        answer = None
        if self._strong:
            wait_s = self.strong_answer_s if auth == "auto" else self.answer_s
            answer = self._invite(strong, wait_s)
        if answer is None and auth != "strict":
            if self._strong:
                self._state("no answer to the SHA-256 handshake: trying the classic one")
            self._strong = False
            answer = self._invite(classic, self.answer_s)
            if auth == "auto" and isinstance(answer, str):
                answer = self._reconsidered(answer, classic, strong)
        if answer is None:
            raise self._no_answer(auth)
        return answer

    def _reconsidered(self, answer: str, classic: str, strong: str) -> str | socket.socket | None:
        """Continue in the handshake that the board knows, after its *answer* to the classic one.

        The board may know the SHA-256 handshake and not have answered it, since a datagram got
        lost, or since it makes pauses of up to 8 s after a stranger's wrong guesses. So before a
        password is proven in the classic way, the board must answer a classic invitation again, and
        leave the other one unanswered.
        """
        if answer.startswith("AUTH") and not _is_strong(answer):
            self._state("making sure that the board does not know the SHA-256 handshake")
            self._send(strong.encode("ascii"))
            until = time.monotonic() + self.strong_answer_s
            found: str | socket.socket | None = ""
            while isinstance(found, str) and not _is_strong(found):
                found = self._await(until, [self._listener, self._inviter])
            if found is None:
                found = self._invite(classic, self.strong_answer_s)
                if found is None:
                    raise DowngradeError(
                        "the board answers only now and then, so it is not certain which handshake "
                        "it knows, and no password was sent: try again"
                    )
            if not (isinstance(found, str) and _is_strong(found)):
                return found
        elif not _is_strong(answer):
            return answer
        self._state("the board does know the SHA-256 handshake: using it")
        self._strong = True
        return self._invite(strong, self.answer_s)

    def _no_answer(self, auth: Auth) -> NoAnswerError:
        if self._port_closed:
            return NoAnswerError(
                f"nothing listens on UDP port {self._board.rpartition(':')[2]} of {self._ip}: "
                "check address and port, and that the board's application starts the listener"
            )
        line = (
            f"no answer from {self._board} by UDP: check the address, that no firewall blocks "
            "UDP, and that the board's application calls handle()"
        )
        if self._port < _LOWEST_DIALLED_PORT:
            line += f"; and give -P {_LOWEST_DIALLED_PORT} or higher: boards use no lower port"
        if auth == "strict":
            line += f"; or {_CLASSIC_BOARD}"
        return NoAnswerError(line)

    def _authenticate(
        self, announcement: Announcement, challenge: str, password: str, auth: Auth
    ) -> str | socket.socket:
        reply = announcement.answer(challenge, password)
        if reply is None:
            raise UnexpectedReplyError(
                f"the board asks for another kind of authentication ({printable(challenge)!r}): "
                "update it with the tool that belongs to it"
            )
        if challenge.startswith(STRONG_PREFIX):
            self._strong = self._strong_seen = True
        elif self._strong_seen:
            raise DowngradeError(
                "the board began with the SHA-256 handshake and now asks for the classic one, as "
                "only an attacker would do: find out which device answers instead of the board"
            )
        elif auth == "strict":
            raise DowngradeError(f"not sending the password in the classic way: {_CLASSIC_BOARD}")
        else:
            self._strong = False
        if not password:
            raise PasswordNeededError(
                "the board asks for a password: give it in the environment variable "
                "MPOTA_PASSWORD, or with -a"
            )
        self._state("authenticating")
        # Sent only once: a board may take a second copy of the response for a wrong guess.
        answer = self._ask(reply, self.answer_s)
        if answer is None:
            self._state("the board may be restarting for the update: inviting it again")
            again = announcement.invitation(self._port, strong=self._strong)
            answer = self._invite(again, self.restart_s)
        if answer is None:
            raise NoAnswerError(
                "the board asked for the password and then fell silent: if it has restarted for "
                f"the update, it was not back in {self.answer_s + self.restart_s:g} s; see its "
                "log, then try again"
            )
        return answer

    def _judge(self, answer: str, password_proven: bool) -> None:
        if answer.startswith("Authentication Failed"):
            raise WrongPasswordError(
                "the board does not take this password: check it and try again"
            )
        if STRONG_ONLY.match(answer):
            raise StrongOnlyError(
                "the board takes only the SHA-256 handshake, not the classic one: upload without "
                "--classic, and with this tool, not with espota.py"
            )
        if answer.startswith("ERR"):
            raise RefusedError(answer.removeprefix("ERR:"), password_proven)
        if answer != "OK":
            raise UnexpectedReplyError(
                f"what answers at {self._board} is not an ArduinoOTA board (it said "
                f"{printable(answer)!r}): check address and port"
            )

    def _invite(self, message: str, wait_s: float) -> str | socket.socket | None:
        """Send invitations until there is an answer, and return it.

        A board that is busy with another host is invited again for a while: that host may not know
        the password, and is then given up by the board.
        """
        begun = time.monotonic()
        busy = None
        while (left_s := begun + wait_s - time.monotonic()) > 0:
            self._invitations += 1
            answer = self._ask(message, min(left_s, self.resend_s))
            if isinstance(answer, str) and _BUSY in answer:
                busy = answer
                if time.monotonic() - begun > self.busy_s:
                    break
                answer = self._await(time.monotonic() + self.retry_s, [self._listener])
            if answer:
                return answer
        return busy

    def _ask(self, message: str, timeout_s: float) -> str | socket.socket | None:
        """Send a datagram; return its answer, or the board's connection, or None.

        When the board connects, it has answered, and the answer got lost.
        """
        self._send(message.encode("ascii"))
        return self._await(time.monotonic() + timeout_s, [self._listener, self._inviter])

    def _send(self, datagram: bytes) -> None:
        try:
            # This error is about the previous datagram; the new one was not sent.
            with suppress(ConnectionRefusedError):
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
        """Return the first event before *until*: the board's connection, or a datagram's text."""
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
        except OSError:  # the connection was closed before it was accepted
            return None
        if ip == self._ip:
            return connection
        connection.close()
        self._turned_away = ip
        self._state(f"turned away {ip}, which is not the board")
        return None

    def _receive(self) -> str:
        try:
            return self._inviter.recv(_DATAGRAM_LIMIT).decode("ascii", "replace").strip()
        except OSError as error:  # an ICMP message: the port is closed, or a firewall blocks it
            self._port_closed |= isinstance(error, ConnectionError)
            return ""

    def _last_challenge(self, answer: str) -> str:
        """Return the last challenge: the board forgets a nonce when it makes a new one.

        After a challenge of the SHA-256 handshake, classic ones are ignored.
        """
        more_may_come = self._invitations > 1 or self._strong and not _is_strong(answer)
        until = time.monotonic() + (self.settle_s if more_may_come else 0)
        while isinstance(later := self._await(until, [self._inviter]), str):
            if later.startswith(STRONG_PREFIX if answer.startswith(STRONG_PREFIX) else "AUTH"):
                answer = later
        return answer


def _is_strong(answer: str) -> bool:
    """Tell whether an answer shows that the board knows the SHA-256 handshake."""
    return answer.startswith(STRONG_PREFIX) or bool(STRONG_ONLY.match(answer))
