"""`mpota serve` over real sockets: what boards get on the wire, and what a server survives."""

import copy
import gzip
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from asking import Desk, board_headers, release_image, sketch_headers
from mpota.image import delta
from mpota.server import rollouts
from mpota.server.database import Attempt, Database, Rollout
from serving import Serving

IMAGE = release_image(2)
ETAG = f'"{hashlib.md5(IMAGE).hexdigest()}"'


def filled(folder, url=None, **options):
    """Return the desk of a folder in which release 2 is rolled out to all boards."""
    folder.mkdir(exist_ok=True)
    database = Database(url or f"sqlite:///{folder / 'server.db'}")
    database.upgrade()
    desk = Desk(database, folder)
    desk.roll_out(desk.add(IMAGE))
    return desk


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Yield a server that the tests of this module share."""
    folder = tmp_path_factory.mktemp("server")
    filled(folder).database.close()
    with Serving(folder, "--unknown", "accept") as server:
        yield server


def test_a_board_gets_the_image_and_all_that_describes_it(server):
    reply = server.get("/update", board_headers(1))
    assert (reply.status, reply.body) == (200, IMAGE)
    assert reply.headers["Content-Length"] == str(len(IMAGE))
    assert reply.headers["x-MD5"] == hashlib.md5(IMAGE).hexdigest()
    assert reply.headers["x-version"] == "2.0.0"
    assert reply.headers["ETag"] == ETAG and reply.headers["Accept-Ranges"] == "bytes"
    assert "Transfer-Encoding" not in reply.headers


def test_a_request_by_http_1_0_as_boards_send_it_is_answered_whole(server):
    head = "GET /update HTTP/1.0\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in board_headers(2).items())
    with socket.create_connection(("127.0.0.1", server.port), 60) as tcp:
        tcp.sendall(f"{head}Connection: close\r\n\r\n".encode())
        data = b"".join(iter(lambda: tcp.recv(65536), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200")) and body == IMAGE
    assert b"chunked" not in head.lower()


@pytest.mark.parametrize(
    ("asked", "if_range", "status", "part"),
    [("bytes=1000-", ETAG, 206, slice(1000, None)), ("bytes=1000-", None, 206, slice(1000, None)),
     ("bytes=0-9", ETAG, 206, slice(10)), ("bytes=1000-", '"other"', 200, slice(None)),
     ("bytes=99999-", ETAG, 416, slice(0)), ("bytes=9-5", ETAG, 416, slice(0)),
     ("lines=1-", ETAG, 200, slice(None))],
)  # fmt: skip
def test_a_part_of_the_same_file_alone_is_sent(server, asked, if_range, status, part):
    number = 100 + hash((asked, if_range)) % 1000
    told = {"Range": asked} | ({"If-Range": if_range} if if_range else {})
    reply = server.get("/update", board_headers(number) | told)
    assert (reply.status, reply.body) == (status, IMAGE[part])
    if status == 206:
        start, end, _ = part.indices(len(IMAGE))
        assert reply.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(IMAGE)}"


def test_nothing_new_is_304_without_a_body(server):
    reply = server.get("/update", board_headers(3, sequence=2))
    assert (reply.status, reply.body) == (304, b"")
    assert "Content-Length" not in reply.headers


def test_only_boards_are_answered(server):
    assert server.get("/update").status == 403
    assert server.get("/update", {"User-Agent": "ESP8266-http-Update"}).status == 403
    assert server.get("/update/pond", sketch_headers(4)).status == 404
    reply = server.request("POST", "/update", b"x", board_headers(4))
    assert (reply.status, reply.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "request_bytes",
    [b"\0" * 100, b"GET /update HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
     b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", b"GET /update HTTP/9.9\r\n\r\n",
     b"POST /api/releases HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
     b"GET /update HTTP/1.1\r\nHost: x\r\nUser-Agent: ESP8266-http-Update\r\n"
     b"x-ESP8266-STA-MAC: 5C:CF:7F:00:00:01\r\nx-mpota-outcome: \xff\xfe\x80\r\n\r\n"],
    ids=["no HTTP", "many headers", "long line", "version", "length", "bytes"],
)  # fmt: skip
def test_hostile_requests_harm_nobody(server, request_bytes):
    with socket.create_connection(("127.0.0.1", server.port), 30) as tcp:
        try:
            tcp.sendall(request_bytes)
            tcp.shutdown(socket.SHUT_WR)
            tcp.settimeout(20)
            while tcp.recv(65536):
                pass
        except OSError:
            pass
    assert server.get("/update", board_headers(5, sequence=2)).status == 304


def test_connections_that_say_nothing_keep_nobody_away(server):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    try:
        assert server.get("/update", board_headers(6, sequence=2)).status == 304
    finally:
        for tcp in silent:
            tcp.close()


def test_values_of_headers_that_are_no_good_are_left_out(server):
    bad = {"x-mpota-heap": "lots", "x-mpota-rssi": "9" * 40, "x-mpota-uptime": "-1e9",
           "x-ESP8266-sketch-md5": "zz", "x-mpota-outcome": "x" * 5000}  # fmt: skip
    assert server.get("/update", board_headers(7, sequence=2) | bad).status == 304


def test_metrics_health_and_readiness_are_told(server):
    assert server.get("/health").status == server.get("/ready").status == 200
    server.get("/update", board_headers(8, sequence=2))
    text = server.get("/metrics").body.decode()
    assert float(re.search(r'^mpota_answers_total\{status="304"\} (\S+)', text, re.M)[1]) >= 1
    assert re.search(r'^mpota_boards\{state="accepted"\} ', text, re.M)


def test_the_log_has_a_line_of_json_for_each_event(tmp_path):
    filled(tmp_path).database.close()
    with Serving(tmp_path, "--unknown", "accept", "--log", "json") as server:
        server.get("/update", board_headers(1, outcome="failed: connection lost"))
        server.wait_for("5CCF7F000001")
        lines = [line for line in server.lines if "5CCF7F000001" in line]
    told = json.loads(lines[0])
    assert (told["mac"], told["status"], told["bytes"]) == ("5CCF7F000001", 200, len(IMAGE))
    assert (told["release"], told["outcome"]) == ("garden 2.0.0", "failed: connection lost")
    assert told["level"] == "info" and told["event"].startswith("5CCF7F000001 1.0.0: 200")


def test_figures_are_those_of_all_workers_and_each_of_them_answers(tmp_path):
    filled(tmp_path).database.close()
    with Serving(tmp_path, "--unknown", "accept", workers=3) as server:
        count = 40
        for number in range(count):
            assert server.get("/update", board_headers(number, sequence=2)).status == 304
        text = server.get("/metrics").body.decode()
        answers = re.search(r'^mpota_answers_total\{status="304"\} (\S+)', text, re.M)
        timed = re.search(r"^mpota_answer_seconds_count (\S+)", text, re.M)
        assert float(answers[1]) == float(timed[1]) == count
        assert re.search(r'^mpota_boards\{state="accepted"\} 40', text, re.M)


def test_two_servers_share_a_database_and_a_folder_of_images(tmp_path, postgres):
    url = postgres()
    desk = filled(tmp_path, url)
    arguments = ["--unknown", "accept", "--database", url]
    with Serving(tmp_path, *arguments) as one, Serving(tmp_path, *arguments) as other:
        assert one.get("/update", board_headers(1)).body == IMAGE
        # The second server goes on where the first one was: this is no other update.
        told = {"Range": "bytes=1000-", "If-Range": ETAG}
        assert other.get("/update", board_headers(1) | told).body == IMAGE[1000:]
        assert other.get("/update", board_headers(1, sequence=2)).status == 304
        with desk.database.writing() as session:
            rollouts.hold(session, session.get(Rollout, 1))
        for server in (one, other):
            assert server.get("/update", board_headers(2)).status == 304
    with desk.database.reading() as session:
        (attempt,) = session.scalars(sa.select(Attempt))
        assert (attempt.state, attempt.tries) == ("confirmed", 1)
    desk.database.close()


def test_a_board_that_finds_a_limit_is_told_when_to_come_back(tmp_path):
    desk = filled(tmp_path)
    image = release_image(3)
    desk.roll_out(desk.add(image), downloads_at_once=1)
    desk.database.close()
    with Serving(tmp_path, "--unknown", "accept") as server:
        assert server.get("/update", board_headers(1, sequence=2)).body == image
        reply = server.get("/update", board_headers(2, sequence=2))
        assert (reply.status, reply.body) == (503, b"")
        assert 60 <= int(reply.headers["Retry-After"]) < 120


def test_a_board_comes_back_when_its_image_is_gone_and_gets_it_when_it_is_there(tmp_path):
    filled(tmp_path).database.close()
    name = hashlib.sha256(IMAGE).hexdigest()
    path = tmp_path / "images" / name[:2] / name
    away = path.rename(tmp_path / "away")
    with Serving(tmp_path, "--unknown", "accept") as server:
        reply = server.get("/update", board_headers(1))
        assert reply.status == 503 and 30 <= int(reply.headers["Retry-After"]) <= 300
        away.rename(path)
        assert server.get("/update", board_headers(1)).body == IMAGE


# What a server survives


def database_of(folder):
    return sqlite3.connect(folder / "server.db")


def test_it_starts_with_nothing_and_ends_with_sigterm(tmp_path):
    folder = tmp_path / "new"
    with Serving(folder, "--proxy", "127.0.0.1") as server:
        assert len(server.password) >= 10
        told = {"X-Forwarded-For": "10.9.9.9, 10.1.2.3"}
        assert server.get("/update", board_headers(1) | told).status == 304
    assert server.process.returncode == 0 and "the server has ended" in server.lines
    # What was seen last is written down at the end.
    with database_of(folder) as database:
        assert database.execute("SELECT mac, rssi, address FROM boards").fetchall() == [
            ("5CCF7F000001", -60, "10.1.2.3")
        ]
    with Serving(folder) as server:
        assert not [line for line in server.lines if "password" in line]


def test_it_ends_however_often_it_is_told_to(tmp_path):
    with Serving(tmp_path) as server:
        for _ in range(2000):
            server.process.send_signal(signal.SIGTERM)
    assert server.process.returncode == 0


def test_a_download_that_goes_on_is_finished_when_the_server_ends(tmp_path):
    filled(tmp_path).database.close()
    with Serving(tmp_path, "--unknown", "accept") as server:
        head = "".join(f"{name}: {value}\r\n" for name, value in board_headers(1).items())
        with socket.create_connection(("127.0.0.1", server.port), 60) as tcp:
            tcp.sendall(f"GET /update HTTP/1.0\r\n{head}\r\n".encode())
            data = tcp.recv(100)
            server.process.terminate()
            data += b"".join(iter(lambda: tcp.recv(65536), b""))
        assert data.partition(b"\r\n\r\n")[2] == IMAGE


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_worker_that_is_killed_loses_nothing_that_was_answered(tmp_path, request, kind):
    url = None if kind == "sqlite" else request.getfixturevalue("postgres")()
    desk = filled(tmp_path, url)
    desk.database.close()
    arguments = ["--unknown", "accept"] + (["--database", url] if url else [])
    given = set()
    with Serving(tmp_path, *arguments, workers=2) as server:
        stop = threading.Event()

        def ask(first):
            number = first
            while not stop.is_set():
                try:
                    reply = server.get("/update", board_headers(number))
                except (OSError, http.client.HTTPException):
                    continue
                if reply.status == 200 and reply.body == IMAGE:
                    given.add(f"5CCF7F{number:06X}")
                    number += 4

        threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            before = len(given)
            server.wait_until(lambda before=before: len(given) >= before + 8)
            server.wait_until(lambda: len(server.worker_processes()) == 2)
            os.kill(server.worker_processes()[0], signal.SIGKILL)
        before = len(given)
        server.wait_until(lambda: len(given) >= before + 8)
        stop.set()
        for thread in threads:
            thread.join()
    database = Database(url or f"sqlite:///{tmp_path / 'server.db'}")
    with database.reading() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT mac FROM attempts JOIN boards ON boards.id = board_id"
        )
        assert given <= {row[0] for row in rows}
    database.close()


def test_the_database_may_go_and_come_back(tmp_path):
    import postgresql

    if not postgresql.find():
        pytest.skip("there is no PostgreSQL (Debian: apt-get install postgresql)")
    with postgresql.Server() as postgres:
        url = postgres.new_database()
        filled(tmp_path, url).database.close()
        with Serving(tmp_path, "--unknown", "accept", "--database", url) as server:
            known = board_headers(1, sequence=2)
            assert [server.get("/update", known).status for _ in range(2)] == [304, 304]
            postgres.stop()
            server.wait_until(lambda: server.get("/ready").status == 503)
            assert server.get("/health").status == 200
            assert server.get("/update", known).status == 304  # from memory
            reply = server.get("/update", board_headers(2))
            assert reply.status == 503 and 30 <= int(reply.headers["Retry-After"]) <= 300
            postgres.start()
            server.wait_until(lambda: server.get("/ready").status == 200)
            assert server.get("/update", board_headers(2)).status == 200


def test_a_full_disk_is_said_and_serves_on_when_there_is_room(tmp_path):
    mounted = tmp_path / "small"
    mounted.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mounted], capture_output=True
    )
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        filled(mounted).database.close()
        with Serving(mounted, "--unknown", "accept") as server:
            known = board_headers(1, sequence=2)
            assert [server.get("/update", known).status for _ in range(2)] == [304, 304]
            ballast = mounted / "ballast"
            with pytest.raises(OSError), ballast.open("wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
            reply = server.get("/update", board_headers(2))
            assert reply.status == 503 and "Retry-After" in reply.headers
            assert server.get("/update", known).status == 304
            ballast.unlink()
            server.wait_until(lambda: server.get("/update", board_headers(2)).status == 200)
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


# Where files come from, and the options


def test_boards_are_sent_elsewhere_for_images(tmp_path):
    filled(tmp_path).database.close()
    name = hashlib.sha256(IMAGE).hexdigest()
    url = "https://files.example/images"
    with Serving(tmp_path, "--unknown", "accept", "--images-url", url) as server:
        reply = server.get("/update", board_headers(1))
        assert reply.status == 302 and reply.headers["Location"] == f"{url}/{name[:2]}/{name}"
    with Serving(tmp_path, "--unknown", "accept", "--accel", "/images") as server:
        reply = server.get("/update", board_headers(2))
        assert reply.headers["X-Accel-Redirect"] == f"/images/{name[:2]}/{name}"
        assert (reply.status, reply.body) == (200, b"")


def test_a_board_that_asks_for_it_gets_what_has_changed_and_the_second_time_all(tmp_path):
    desk = filled(tmp_path)
    image = release_image(3)
    desk.roll_out(desk.add(image))
    desk.database.close()
    changes = delta.make(IMAGE, image)
    takes = {"x-mpota-takes": "delta"}
    with Serving(tmp_path, "--unknown", "accept") as server:
        reply = server.get("/update", board_headers(1, sequence=2) | takes)
        assert (reply.status, reply.body) == (200, changes)
        assert reply.headers["x-MD5"] == hashlib.md5(changes).hexdigest()
        told = takes | {"Range": "bytes=10-", "If-Range": reply.headers["ETag"]}
        assert server.get("/update", board_headers(1, sequence=2) | told).body == changes[10:]
        assert server.get("/update", board_headers(1, sequence=2) | takes).body == image
        assert server.get("/update", board_headers(2, sequence=2)).body == image
        assert server.get("/update", board_headers(3, sequence=1) | takes).body == image


def test_a_board_that_asks_for_it_gets_a_gzip_and_the_second_time_the_image(tmp_path):
    filled(tmp_path).database.close()
    takes = {"x-mpota-takes": "delta gzip"}
    with Serving(tmp_path, "--unknown", "accept") as server:
        reply = server.get("/update", board_headers(1) | takes)
        assert len(reply.body) < len(IMAGE) / 2 and gzip.decompress(reply.body) == IMAGE
        assert reply.headers["x-MD5"] == hashlib.md5(reply.body).hexdigest()
        assert reply.headers["ETag"] != ETAG
        assert server.get("/update", board_headers(1) | takes).body == IMAGE
        assert server.get("/update", board_headers(2)).body == IMAGE


@pytest.fixture
def nginx(tmp_path):
    """Yield a function that runs nginx with the configuration of deploy/, before a server."""
    if not shutil.which("nginx"):
        pytest.skip("there is no nginx (Debian: apt-get install nginx)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = []

    def run(server, images):
        text = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text()
        for old, new in (
            ("server server:8000", f"server 127.0.0.1:{server.port}"),
            ("listen 8000", f"listen 127.0.0.1:{port}"), ("/srv/mpota/images/", f"{images}/"),
            ("http {", "http { " + "".join(
                f"{name}_temp_path {tmp_path}/{name};"
                for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))),
        ):  # fmt: skip
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""
        path.write_text(
            f"daemon off; {user} worker_processes 1; pid {tmp_path}/pid; error_log stderr;\n{text}"
        )
        running.append(subprocess.Popen(["nginx", "-c", str(path)], stderr=subprocess.DEVNULL))
        proxied = copy.copy(server)
        proxied.port = port
        server.wait_until(lambda: proxied.get("/health").status == 200)
        return proxied

    yield run
    for process in running:
        process.terminate()
        process.wait(60)


def test_behind_nginx_files_leave_the_worker_and_can_be_resumed(tmp_path, nginx):
    home = tmp_path / "server"
    filled(home).database.close()
    arguments = ["--unknown", "accept", "--accel", "/images"]
    with Serving(home, *arguments) as server:
        proxied = nginx(server, home / "images")
        reply = proxied.get("/update", board_headers(1))
        assert (reply.status, reply.body) == (200, IMAGE)
        assert reply.headers["Content-Length"] == str(len(IMAGE))
        assert reply.headers["x-MD5"] == hashlib.md5(IMAGE).hexdigest()
        told = {"Range": "bytes=1000-", "If-Range": reply.headers["ETag"]}
        reply = proxied.get("/update", board_headers(1) | told)
        assert (reply.status, reply.body) == (206, IMAGE[1000:])
        reply = proxied.get("/update", board_headers(2) | {"x-mpota-takes": "gzip"})
        assert gzip.decompress(reply.body) == IMAGE
        assert reply.headers["x-MD5"] == hashlib.md5(reply.body).hexdigest()
        assert proxied.get("/images/" + hashlib.sha256(IMAGE).hexdigest()).status == 404
        assert proxied.get("/metrics").status == 403
        assert proxied.get("/update", board_headers(1, sequence=2)).status == 304
        assert proxied.get("/login").status == 200


def test_the_current_arduino_servers_rules_insist_on_headers(tmp_path):
    filled(tmp_path).database.close()
    with Serving(tmp_path, "--unknown", "accept", "--arduino", "current") as server:
        told = sketch_headers(1)
        assert server.get("/update", told).status == 304
        assert server.get("/update", told | {"x-ESP8266-version": "1"}).status == 200
        del told["x-ESP8266-chip-size"]
        assert server.get("/update", told).status == 403


def test_the_secret_of_the_fleet_comes_from_the_environment(tmp_path):
    filled(tmp_path).database.close()
    with Serving(tmp_path, "--unknown", "accept", MPOTA_FLEET_SECRET="of-all") as server:
        reply = server.get("/update", board_headers(1))
        assert reply.status == 401 and "Basic" in reply.headers["WWW-Authenticate"]
        assert server.get("/update", board_headers(1, x_mpota_secret="of-all")).status == 200


def mpota(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mpota", *map(str, arguments)], capture_output=True, text=True,
        env=os.environ,
    )  # fmt: skip


def test_a_backup_is_whole_while_the_server_runs(tmp_path):
    filled(tmp_path / "a").database.close()
    with Serving(tmp_path / "a", "--unknown", "accept") as server:
        assert server.get("/update", board_headers(1)).status == 200
        ran = mpota("serve", "backup", tmp_path / "a", tmp_path / "copy.db")
        assert ran.returncode == 0 and "written" in ran.stdout
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM attempts").fetchone() == (1,)
    ran = mpota("serve", "backup", tmp_path / "a", tmp_path / "copy.db")
    assert ran.returncode == 1 and "is there already" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--unknown", "maybe"], "pending, accept, refuse"), (["--key", "none.pem"], "none.pem"),
     (["--database", "mysql://x/y"], "postgresql://"),
     (["--database", "postgresql://127.0.0.1:1/x"], "database")],
)  # fmt: skip
def test_what_the_server_cannot_do_is_said_in_one_line(tmp_path, arguments, said):
    ran = mpota("serve", tmp_path, "--port", "0", *arguments)
    assert ran.returncode == 1
    assert said in ran.stderr and ran.stderr.count("\n") == 1, ran.stderr


def test_a_port_that_is_taken_is_said(tmp_path, server):
    ran = mpota("serve", tmp_path, "--bind", "127.0.0.1", "--port", server.port)
    assert ran.returncode == 1 and "another --bind or --port" in ran.stderr
