"""Starts a server: makes its folder, its database and the first operator, and runs the workers."""

import contextlib
import os
import socket
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from granian.constants import HTTPModes, Interfaces
from granian.server.mp import MPServer
from sqlalchemy.exc import SQLAlchemyError

from mpota.errors import CommandError
from mpota.image.keys import load_public_key
from mpota.server import accounts
from mpota.server.database import Database
from mpota.server.options import METRICS_DIRECTORY, Options

_BACKLOG = 4096  # connections that may wait: after a power cut all boards come at once
_END_S = 20  # so long a worker may take to finish its answers


class _Workers(MPServer):
    """The process that starts the workers, and ends them when a signal comes."""

    interrupt_signal: bool

    def signal_handler_interrupt(self, *args: object, **kwargs: object) -> None:
        """End the server. Further signals change nothing.

        The event has a lock. The code that the signal has interrupted may hold it, and this thread
        would wait for itself: so another thread sets the event.
        """
        if not self.interrupt_signal:
            self.interrupt_signal = True
            threading.Thread(target=self.main_loop_interrupt.set).start()


def prepare(options: Options) -> str:
    """Make what the server needs; return the first operator's password, "" if there was one before.

    Raises CommandError.
    """
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise CommandError(f"{folder} cannot be written to: give a folder of your own")
    for name in options.keys:
        load_public_key(Path(name))
    database = Database(options.database_url)
    try:
        database.upgrade()
        if database.is_sqlite and database.url.database:
            Path(database.url.database).chmod(0o600)
        with database.writing() as session:
            return accounts.first_operator(session)
    except SQLAlchemyError as error:
        why = str(getattr(error, "orig", error)).partition("\n")[0]
        raise CommandError(
            f"the database does not answer ({why}): check that it runs, and --database"
        ) from error
    finally:
        database.close()


def serve(
    options: Options, bind: str, port: int, workers: int, say: Callable[[str], object]
) -> None:
    """Serve until a signal ends the server; *port* 0 is any free one.

    *say* is called with lines for whoever has started it. Raises CommandError.
    """
    try:
        with socket.create_server((bind, port)) as free:
            port = free.getsockname()[1]
    except OSError as error:
        raise CommandError(
            f"cannot listen at {bind}, port {port} ({error.strerror}): give another --bind or "
            "--port"
        ) from error
    password = prepare(options)
    url = f"http://{'127.0.0.1' if bind == '0.0.0.0' else bind}:{port}/"
    if password:
        say(f"first start: log in at {url} as {accounts.FIRST_NAME} with the password {password}")
        say("it is not shown again, and another one is asked for at the first login")
    with contextlib.ExitStack() as stack:
        if workers > 1:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mpota-metrics-"))
            os.environ[METRICS_DIRECTORY] = folder
        os.environ.update(options.to_environment())
        server = _Workers(
            "mpota.server.app:create",
            factory=True,
            address=bind,
            port=port,
            interface=Interfaces.ASGI,
            workers=workers,
            http=HTTPModes.http1,
            websockets=False,
            backlog=_BACKLOG,
            log_enabled=False,
            respawn_failed_workers=True,
            respawn_interval=1.0,
            workers_kill_timeout=_END_S,
        )
        server.on_startup(lambda: say(f"serving {options.folder} at {url}; Ctrl-C ends it"))
        server.serve()
        say("the server has ended")


def back_up(options: Options, target: Path) -> None:
    """Copy the SQLite database to *target* as it is at one moment, while the server runs.

    Raises CommandError where the database is PostgreSQL, which has programs of its own for it.
    """
    if options.database:
        raise CommandError("save a PostgreSQL database with its own program pg_dump")
    source = Path(options.folder) / "server.db"
    if not source.is_file():
        raise CommandError(f"there is no server's database in {options.folder}")
    if target.exists():
        raise CommandError(f"{target} is there already: give another name")
    partial = target.with_name(target.name + ".partial")
    try:
        with (
            contextlib.closing(sqlite3.connect(source)) as live,
            contextlib.closing(sqlite3.connect(partial)) as copy,
        ):
            live.backup(copy)
        partial.chmod(0o600)
        partial.replace(target)
    except sqlite3.Error as error:
        raise CommandError(f"the database cannot be copied ({error})") from error
    finally:
        partial.unlink(missing_ok=True)
