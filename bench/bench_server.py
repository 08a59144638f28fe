"""Measure `mpota serve`, beside nginx: `make bench-server`. Ratios first.

Every figure comes from this run, with wrk on the same computer as load. Boards close each
connection; keep-alive is what a web server before this one does.
"""

import contextlib
import hashlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import postgresql
from asking import Desk, board_headers, release_image
from mpota import image
from mpota.server.database import Board, Database
from rich.console import Console
from rich.table import Table
from serving import Serving
from sqlalchemy import insert

SECONDS = 5
BOARDS = 10_000
MANY_BOARDS = 100_000
CONNECTIONS = 64
IMAGE_BYTES = 50_000
AIM = 0.2

# Each request is of the next board; wrk runs a copy of this in each of its threads.
_SCRIPT = """
local number = {first}
function request()
  number = (number - {first} + 1) % {count} + {first}
  local mac = string.format("5C:CF:7F:%02X:%02X:%02X",
    math.floor(number / 65536), math.floor(number / 256) % 256, number % 256)
  wrk.headers["x-ESP8266-STA-MAC"] = mac
  return wrk.format("GET", "{path}")
end
{headers}
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw: answers a second, those that were no success, and milliseconds."""

    rate: float
    failures: int
    p50: str
    p99: str
    total: int


def wrk(folder: Path, port: int, path: str, *, headers: dict[str, str] | None = None,
        count: int = 1, first: int = 0, close: bool = False, seconds: float = SECONDS,
        connections: int = CONNECTIONS) -> Load:  # fmt: skip
    """Load a server for some seconds."""
    told = dict(headers or {})
    if close:
        told["Connection"] = "close"
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in told.items())
    script = folder / "load.lua"
    script.write_text(_SCRIPT.format(count=count, first=first, path=path, headers=lines))
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds:g}s", "--latency"]
    command += ["--timeout", "30s", "-s", str(script), f"http://127.0.0.1:{port}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    failures = int(bad[1]) if bad else 0
    # A connection that the server closes, as it was told to, is no error to a board.
    failures += sum(map(int, errors.groups()[::3])) if errors else 0
    found = dict(re.findall(r"^\s+(50|99)%\s+(\S+)\s*$", text, re.M))
    total = int(re.search(r"(\d+) requests in", text)[1])
    rate = float(re.search(r"Requests/sec:\s+(\S+)", text)[1])
    return Load(rate, failures, found.get("50", "?"), found.get("99", "?"), total)


@contextlib.contextmanager
def nginx(folder: Path, server_port: int = 0) -> Iterator[int]:
    """Run an nginx with one worker: files of *folder*, and a server behind it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;
user root;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  upstream mpota {{ server 127.0.0.1:{server_port or 1}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ root {folder}/static; }}
    location /update {{
      proxy_pass http://mpota; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
    location /images/ {{ internal; alias {folder}/server/images/; }}
  }}
}}
"""
    )
    process = subprocess.Popen(["nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError("a server does not listen")


def fill(folder: Path, url: str, count: int, sequence: int) -> None:
    """Make a database of *count* boards that run release *sequence*, and roll out release 2."""
    database = Database(url)
    database.upgrade()
    desk = Desk(database, folder)
    now = time.time()
    rows = [
        {
            "mac": f"5CCF7F{number:06X}", "state": "accepted", "label": "", "group_name": "",
            "channel": "stable", "assigned": "", "application": "garden",
            "version": f"{sequence}.0.0", "sequence": sequence, "floor": sequence,
            "md5": "e" * 32, "outcome": "", "sdk": "", "address": "", "first_seen": now,
        }
        for number in range(count)
    ]  # fmt: skip
    with database.writing() as session:
        for at in range(0, count, 5000):
            session.execute(insert(Board), rows[at : at + 5000])
    desk.roll_out(desk.add(release_image(2)))
    database.close()


def headers_of(sequence: int) -> dict[str, str]:
    """Return what a board sends beside its MAC address."""
    told = {name: str(value) for name, value in board_headers(0, sequence).items()}
    del told["x-ESP8266-STA-MAC"]
    return told


def memory_mb(server: Serving) -> float:
    """Return the memory of a worker that it shares with no other process."""
    sizes = []
    for number in server.worker_processes():
        text = Path(f"/proc/{number}/smaps_rollup").read_text()
        sizes.append(sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+)", text, re.M)) / 1024)
    return statistics.mean(sizes)


def checks(folder: Path, postgres: postgresql.Server | None, table: Table) -> None:
    """Measure questions of 10,000 boards that have nothing new, beside a static file of nginx."""
    static = folder / "static"
    static.mkdir()
    (static / "file").write_bytes(bytes(900))
    with nginx(folder) as port:
        theirs = {close: wrk(folder, port, "/file", close=close) for close in (False, True)}
    for kind in ("SQLite", "PostgreSQL"):
        if kind == "PostgreSQL" and postgres is None:
            table.add_row("PostgreSQL", "not installed", "")
            continue
        home = folder / f"server-{kind}"
        home.mkdir()
        url = postgres.new_database() if postgres and kind != "SQLite" else ""
        fill(home, url or f"sqlite:///{home / 'server.db'}", BOARDS, 2)
        arguments = ["--database", url] if url else []
        with Serving(home, *arguments) as server:
            told = headers_of(2)
            first = wrk(folder, server.port, "/update", headers=told, count=BOARDS, seconds=40)
            empty = memory_mb(server)
            for close in (False, True):
                ours = wrk(folder, server.port, "/update", headers=told, count=BOARDS, close=close)
                how = "Connection: close" if close else "keep-alive"
                table.add_row(
                    f"{kind}, 304 checks, {how}: of nginx with a static file",
                    f"{ours.rate / theirs[close].rate:.2f}", f"≥ {AIM}",
                )  # fmt: skip
                table.add_row(
                    f"  checks a second ({theirs[close].rate:.0f} of nginx)",
                    f"{ours.rate:.0f}, p99 {ours.p99}, {ours.failures} failed", "",
                )  # fmt: skip
            table.add_row(
                f"  the same in 40 s from nothing in memory, {first.total} checks",
                f"{first.rate:.0f} a second, {first.failures} failed", "",
            )  # fmt: skip
            table.add_row(f"  memory of a worker that knows {BOARDS} boards", f"{empty:.0f} MB", "")


def downloads(folder: Path, table: Table) -> None:
    """Measure downloads of an image, from the worker and from nginx by X-Accel-Redirect."""
    for accel in (False, True):
        home = folder / "server"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        database = Database(f"sqlite:///{home / 'server.db'}")
        database.upgrade()
        desk = Desk(database, home)
        files = {"app.mpy": b"M\x06" + hashlib.shake_256(b"").digest(IMAGE_BYTES)}
        data = image.build(name="garden", version="2.0.0", sequence=2, files=files)
        # Every board has an update that goes on, and asks for the rest: nothing is to be decided.
        desk.roll_out(desk.add(data), tries=100)
        database.close()
        told = headers_of(1) | {"Range": "bytes=1-"}
        arguments = ["--unknown", "accept"] + (["--accel", "/images"] if accel else [])
        with Serving(home, *arguments) as server, nginx(folder, server.port) as port:
            port = port if accel else server.port
            load = wrk(folder, port, "/update", headers=told, count=200, close=True)
        how = "nginx, by X-Accel-Redirect" if accel else "the worker"
        table.add_row(f"downloads of 50 KB a second, from {how}",
                      f"{load.rate:.0f}, p99 {load.p99}, {load.failures} failed", "")  # fmt: skip


def many(folder: Path, postgres: postgresql.Server, table: Table) -> None:
    """Simulate 100,000 boards: polling hourly, and all at once on the morning after a power cut."""
    home = folder / "many"
    home.mkdir()
    url = postgres.new_database()
    fill(home, url, MANY_BOARDS, 2)
    with Serving(home, "--database", url, workers=4) as server:
        told = headers_of(2)
        times, failures = hourly(server, MANY_BOARDS / 3600, 30)
        table.add_row(
            f"{MANY_BOARDS} boards that ask hourly, {MANY_BOARDS / 3600:.0f} a second, 4 workers",
            f"p50 {1000 * statistics.median(times):.0f} ms, "
            f"p99 {1000 * sorted(times)[int(0.99 * len(times))]:.0f} ms, {failures} failed", "",
        )  # fmt: skip
        for what in ("the morning after a power cut, all at once", "and once more"):
            load = wrk(folder, server.port, "/update", headers=told, count=MANY_BOARDS, close=True,
                       seconds=60, connections=1000)  # fmt: skip
            table.add_row(
                what,
                f"{load.rate:.0f} a second, {load.total} in 60 s, {load.failures} told to come "
                f"back, p99 {load.p99}", "",
            )  # fmt: skip
        table.add_row("memory of a worker", f"{memory_mb(server):.0f} MB", "")


def hourly(server: Serving, rate: float, seconds: float) -> tuple[list[float], int]:
    """Ask at a steady rate; return how long answers took, and how many were none."""
    times: list[float] = []
    failures = 0
    lock = threading.Lock()

    def ask(number: int) -> None:
        nonlocal failures
        began = time.perf_counter()
        try:
            status = server.get("/update", board_headers(number, 2)).status
        except OSError:
            status = 0
        with lock:
            times.append(time.perf_counter() - began)
            failures += status != 304

    threads = []
    for number in range(int(rate * seconds)):
        threads.append(threading.Thread(target=ask, args=(number * 7 % MANY_BOARDS,)))
        threads[-1].start()
        time.sleep(1 / rate)
    for thread in threads:
        thread.join()
    return times, failures


def main() -> int:
    for program in ("wrk", "nginx"):
        if not shutil.which(program):
            sys.exit(f"{program} is needed (Debian: apt-get install {program})")
    console = Console(width=140)
    table = Table("what", "figure", "aim", title="mpota serve")
    with (
        tempfile.TemporaryDirectory(prefix="mpota-bench-") as name,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        postgres = stack.enter_context(postgresql.Server()) if postgresql.find() else None
        checks(folder, postgres, table)
        downloads(folder, table)
        if postgres:
            many(folder, postgres, table)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
