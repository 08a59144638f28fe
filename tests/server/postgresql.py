"""A PostgreSQL of the tests' own: in a temporary folder, on a free port, by an ordinary user."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

_DEBIAN = Path("/usr/lib/postgresql")
_PATIENCE_S = 60


def find() -> Path | None:
    """Return the folder of PostgreSQL's programs, None where it is not installed."""
    if _DEBIAN.is_dir():
        for version in sorted(_DEBIAN.iterdir(), reverse=True):
            if (version / "bin" / "initdb").exists():
                return version / "bin"
    found = shutil.which("initdb")
    return Path(found).parent if found else None


class Server:
    """A PostgreSQL that runs until the `with` ends; it need not survive a power cut."""

    def __init__(self) -> None:
        self._names = itertools.count()
        self._folder = Path(tempfile.mkdtemp(prefix="mpota-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        # The programs refuse to be run by root.
        self._as_user: dict[str, object] = {}
        if os.getuid() == 0:
            self._as_user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(self._folder, "nobody", "nogroup")
        found = find()
        assert found
        self._programs = found

    def __enter__(self) -> "Server":
        data = self._folder / "data"
        made = [
            self._programs / "initdb",
            "-D",
            data,
            "-U",
            "mpota",
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=self._folder, **self._as_user)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        run = [self._programs / "postgres", "-D", self._folder / "data", "-F", "-p", str(self.port)]
        run += ["-k", self._folder, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            run, stdout=log, stderr=log, cwd=self._folder, **self._as_user
        )
        log.close()
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self._folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, with all its connections."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_PATIENCE_S)
            self._process = None

    def url(self, name: str) -> str:
        """Return the address of the database *name*."""
        return f"postgresql://mpota@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        """Make an empty database, and return its address."""
        name = f"test{next(self._names)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)
