"""Requests to a board's update page, by HTTP."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from mpota.arduino.outcomes import (
    BusyError,
    ConnectionLostError,
    DowngradeError,
    NoAnswerError,
    PasswordNeededError,
    UnexpectedReplyError,
    WrongPasswordError,
    printable,
)
from mpota.arduino.sockets import resolve
from mpota.errors import CommandError
from mpota.web.digest import Credentials

_PIECE = 1460  # bytes: what one TCP segment carries
# The size of the socket's send buffer. Bytes in it count as sent in the progress that is shown, so
# it is small.
_ON_THE_WAY_BYTES = 8192
_LONGEST_ANSWER = 4096  # bytes


class Answer:
    """A board's answer: the HTTP status, text or JSON, and in how many seconds to try again."""

    def __init__(self, response: http.client.HTTPResponse):
        self.status = response.status
        self.challenges = response.headers.get_all("WWW-Authenticate", [])
        again = response.headers.get("Retry-After", "")
        self.again_s = int(again) if again.isdigit() else None
        self.body = response.read(_LONGEST_ANSWER).decode("utf-8", "replace").strip()

    @property
    def json(self) -> dict[str, object]:
        """The body, a JSON object. Raises UnexpectedReplyError."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UnexpectedReplyError(
                "the device at this address is not a board with mpota (it said "
                f"{printable(self.body)!r}): check the address"
            )
        return found

    @property
    def text(self) -> str:
        """What the board said in words."""
        return printable(str(self.json.get("text", "")))


class Client:
    """Send requests to the board whose page is at `url`, such as http://192.168.4.1, as `user`.

    `classic` allows to prove the password in ways that others on the network could misuse.
    """

    def __init__(self, url: str, user: str, password: str, classic: bool = False):
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            port = parts.port or 80
        except ValueError:
            port = 0
        if parts.scheme != "http" or not parts.hostname or not port or parts.query:
            raise CommandError(
                f"{url} is not the address of a page: give one like http://192.168.4.1"
            )
        self._path = parts.path.rstrip("/") or "/update"
        self._name, self._port = parts.hostname, port
        self._password = password
        self._credentials = Credentials(user, password, classic)

    def ask(
        self,
        method: str,
        path: str = "",
        body: bytes = b"",
        *,
        patience_s: float = 10.0,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Answer:
        """Send a request for /update + *path*; prove the password if the board asks for it.

        Raises an UploadError where the board does not answer, or does not take the password.
        """
        target = self._path + path
        for _ in range(3):  # a nonce that has become too old is replaced
            answer = self._once(method, target, body, patience_s, progress)
            if answer.status == 429 and answer.again_s is not None:  # after wrong passwords
                time.sleep(min(answer.again_s, patience_s))
                continue
            if answer.status != 401:
                break
            if not self._password:
                raise PasswordNeededError(
                    "the board asks for a password: give it in the environment variable "
                    "MPOTA_PASSWORD, or with --password"
                )
            if answer.challenges and not self._credentials.take(answer.challenges):
                raise DowngradeError(
                    "the page asks for the password in a way that others on the network could "
                    "misuse: give --classic to allow it"
                )
            if answer.body and "wrong" in answer.body:
                break
        if answer.status in (401, 429):
            raise WrongPasswordError(
                "the board does not take this user and password: check them and try again"
            )
        if answer.status == 503 and not answer.body:
            raise BusyError(
                "the board is busy with an update, or has no memory for one more request: try again"
            )
        return answer

    def _once(
        self,
        method: str,
        target: str,
        body: bytes,
        patience_s: float,
        progress: Callable[[int, int], None],
    ) -> Answer:
        connection = http.client.HTTPConnection(self._name, self._port, timeout=patience_s)
        try:
            connection.sock = self._connect(patience_s)
            connection.putrequest(method, target, skip_accept_encoding=True)
            connection.putheader("Accept", "application/json")
            if authorization := self._credentials.header(method, target):
                connection.putheader("Authorization", authorization)
            if method == "POST":
                connection.putheader("Content-Type", "application/octet-stream")
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            self._send(connection.sock, body, progress)
            return Answer(connection.getresponse())
        except TimeoutError as error:
            raise ConnectionLostError(
                f"{self._name} has stopped answering: bring the board nearer to its access point "
                "and try again"
            ) from error
        except http.client.HTTPException as error:
            raise ConnectionLostError(
                f"{self._name} closed the connection without an answer: try again"
            ) from error
        except OSError as error:
            raise ConnectionLostError(
                f"the connection to {self._name} was lost ({error.strerror or error}): try again"
            ) from error
        finally:
            connection.close()

    def _connect(self, patience_s: float) -> socket.socket:
        address = (resolve(self._name), self._port)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ON_THE_WAY_BYTES)
        tcp.settimeout(patience_s)
        try:
            tcp.connect(address)
        except OSError as error:
            tcp.close()
            raise NoAnswerError(
                f"nothing answers at http://{self._name}:{self._port} "
                f"({error.strerror or 'no answer in time'}): check the address, and that the "
                'setting "web" of the board is true'
            ) from error
        return tcp

    def _send(self, tcp: socket.socket, body: bytes, progress: Callable[[int, int], None]) -> None:
        view = memoryview(body)
        try:
            for at in range(0, len(body), _PIECE):
                tcp.sendall(view[at : at + _PIECE])
                progress(min(at + _PIECE, len(body)), len(body))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the board has closed the connection; its answer tells why
