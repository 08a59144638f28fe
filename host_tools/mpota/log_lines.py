"""Receive the log of a board, which sends it by UDP to the address in its setting `log_host`."""

import socket
import threading
from collections.abc import Callable

from mpota.arduino.outcomes import HostPortError, printable

PORT = 8267
_DATAGRAM_LIMIT = 2048  # bytes
_LOOK_S = 0.2


class LogLines:
    """Call `tell` with each line that the board `address` sends, while the context is open.

    Entering the context raises HostPortError where `port` is taken.
    """

    def __init__(self, address: str, port: int, tell: Callable[[str], None]):
        self._address, self._port, self._tell = address, port, tell
        self.count = 0  # lines so far
        self._is_open = True

    def __enter__(self) -> "LogLines":
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._udp.bind(("0.0.0.0", self._port))
        except OSError as error:
            self._udp.close()
            raise HostPortError(
                f"cannot listen for log lines on UDP port {self._port} ({error.strerror}): give "
                "another --log-port, and the board the same in log_host"
            ) from error
        self._udp.settimeout(_LOOK_S)
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        self._thread.join()
        self._udp.close()

    def _hear(self) -> None:
        while self._is_open:
            try:
                data, (ip, _) = self._udp.recvfrom(_DATAGRAM_LIMIT)
            except OSError:  # nothing has come
                continue
            if ip != self._address:
                continue
            for line in data.decode("utf-8", "replace").splitlines():
                self.count += 1
                self._tell(printable(line))
