"""A server as people start it: `mpota serve DIR`, with its workers, over real sockets."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

PATIENCE_S = 60


class Reply:
    """What a request got."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


class Serving:
    """Runs `mpota serve FOLDER` with further arguments until the `with` ends."""

    def __init__(self, folder: Path, *arguments: str, workers: int = 1, **environment: str) -> None:
        self.lines: list[str] = []
        self._command = [sys.executable, "-m", "mpota", "serve", str(folder), "--port", "0"]
        self._command += ["--bind", "127.0.0.1", "--workers", str(workers), *arguments]
        self._environment = os.environ | {"PYTHONUNBUFFERED": "1"} | environment
        self.workers = workers
        self.port = 0

    def __enter__(self) -> "Serving":
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=self._environment,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = int(self.wait_for(r"serving .* at http://[^ ]*:(\d+)/")[1])
        self.wait_until(lambda: self.get("/ready").status == 200)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            for number in self.worker_processes():
                os.kill(number, signal.SIGKILL)
            self.process.kill()
            raise
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, pattern: str, start: int = 0) -> re.Match[str]:
        """Wait, from line *start* on, for a line of its output."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found[:] = [m for line in self.lines[start:] if (m := re.search(pattern, line))]
            assert found or self.process.poll() is None, self.lines
            return bool(found)

        self.wait_until(look)
        return found[0]

    def wait_until(self, condition, patience_s: float = PATIENCE_S) -> None:
        """Wait until *condition* holds; a connection that fails counts as that it does not."""
        deadline = time.monotonic() + patience_s
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition():
                    return
            assert time.monotonic() < deadline, self.lines[-30:]
            time.sleep(0.02)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        """Ask for *path*, in a connection of its own."""
        return self.request("GET", path, headers=headers)

    def request(self, method: str, path: str, body: bytes | None = None,
                headers: dict[str, str] | None = None) -> Reply:  # fmt: skip
        """Do a request, in a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            return Reply(connection.getresponse())

    def worker_processes(self) -> list[int]:
        """Return the ids of the processes that answer."""
        number = self.process.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        return [int(child) for child in children]

    @property
    def password(self) -> str:
        """The first operator's, as it was printed."""
        return self.wait_for(r"with the password (\S+)")[1]
