"""The serial port of a simulated board: a pseudo-terminal, which programs open like the device of
an adapter. Bytes that no program reads are lost, as with an adapter that no program has opened.
"""

import os
import pty
import select
import termios
import tty
from pathlib import Path

_CHUNK = 65536
_LONGEST_QUEUE = 256 * 1024  # bytes kept for a program that does not read them
_PROBE_S = 0.02  # how often to check whether a program has opened the port

# Speeds as termios knows them.
_BAUDS = {
    value: int(name[1:])
    for name, value in vars(termios).items()
    if name[0] == "B" and name[1:].isdigit()
}


class SerialPort:
    """A pseudo-terminal; `name` is the device that programs open.

    *link* is a path at which it can be opened as well, for as long as the port is there. Above
    *fastest_baud* nothing that comes or goes can be understood, as with a long cable.

    A pseudo-terminal has no DTR and RTS, so a SYNC frame takes the board into its boot mode, and
    closing the port out of it. With *has_lines* only `Board.reset` does, which stands for them.
    """

    def __init__(
        self,
        link: Path | None = None,
        *,
        fastest_baud: int | None = None,
        has_lines: bool = False,
    ) -> None:
        self.has_lines = has_lines
        self._master, self.name = _open()
        self._fastest_baud = fastest_baud
        self._queue = bytearray()
        self._ends_with_cr = False
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLIN)
        self._link = link
        self.plug()

    def close(self) -> None:
        """Remove the adapter for ever."""
        self._remove_link()
        os.close(self._master)

    def unplug(self) -> None:
        """Pull the cable: programs that have the port open get an error, and the link is gone."""
        self._remove_link()
        master, self.name = _open()
        os.dup2(master, self._master)  # at once, whatever another thread does with it
        os.close(master)

    def plug(self) -> None:
        """Plug the adapter in: the link is there."""
        if self._link is not None:
            self._remove_link()
            self._link.symlink_to(self.name)

    def _remove_link(self) -> None:
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    @property
    def is_open(self) -> bool:
        """Whether a program has opened the port."""
        return not any(event & select.POLLHUP for _, event in self._poll.poll(0))

    @property
    def baud(self) -> int:
        """The speed that the program at the port has set; 0 when it is not a usual one."""
        return _BAUDS.get(termios.tcgetattr(self._master)[4], 0)

    def register(self, poll: select.poll) -> None:
        """Have *poll* wait for bytes to read as well, if a program has opened the port."""
        self._flush()
        if self.is_open:
            poll.register(self._master, select.POLLIN | (select.POLLOUT if self._queue else 0))

    def wait(self, timeout_s: float) -> bool:
        """Wait for bytes to read; return whether there are any. Sends what is still queued."""
        poll = select.poll()
        self.register(poll)
        timeout_s = timeout_s if self.is_open else min(timeout_s, _PROBE_S)
        return any(event & select.POLLIN for _, event in poll.poll(timeout_s * 1000))

    def read(self) -> bytes:
        """Return what has come, at once."""
        try:
            data = os.read(self._master, _CHUNK)
        except (BlockingIOError, OSError):  # nothing has come, or the port is closed
            return b""
        return self._garbled(data)

    def write(self, data: bytes) -> None:
        """Send *data*, now or, while the program reads nothing, later; too much of it is lost."""
        if len(self._queue) < _LONGEST_QUEUE:
            self._queue += self._garbled(data)
        self._flush()

    def write_text(self, data: bytes) -> None:
        """Send what the interpreter prints, with the end of a line as the chip sends it: CR LF."""
        before = b"\r" if self._ends_with_cr else b""
        text = (before + data).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self._ends_with_cr = data.endswith(b"\r")
        self.write(text.removeprefix(before))

    def _garbled(self, data: bytes) -> bytes:
        if self._fastest_baud is None or 0 < self.baud <= self._fastest_baud:
            return data
        return bytes(byte ^ 0xA5 for byte in data)

    def _flush(self) -> None:
        if self._queue and not self.is_open:
            self._queue.clear()
        try:
            while self._queue:
                sent = os.write(self._master, self._queue[:_CHUNK])
                del self._queue[:sent]
        except (BlockingIOError, OSError):  # its buffer is full, or it was closed just now
            return


def _open() -> tuple[int, str]:
    # Returns the end that the board has, and the name of the other one.
    master, slave = pty.openpty()
    tty.setraw(slave)  # or what the board says would be echoed as typed by the host
    name = os.ttyname(slave)
    os.close(slave)
    os.set_blocking(master, False)
    return master, name
