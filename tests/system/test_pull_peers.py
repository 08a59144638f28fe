"""The pull client and servers of others: nginx, Python's http.server, ESPhttpUpdate's samples."""

import contextlib
import functools
import hashlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from arduino_servers import older_sample, run, sample_of_today
from device import APP, Device
from pulling import NO_UPDATES, OK, PULLING_APP, PullingDevice, filler
from web_site import WebSite, status

OFTEN = {"update_interval_s": 1}
MAC = re.compile(r"([0-9A-F]{2}:){5}[0-9A-F]{2}")


# nginx

NGINX = """
daemon off;
worker_processes 1;
error_log stderr;
pid {folder}/nginx.pid;
{user}
events {{}}
http {{
    access_log {folder}/access.log;
    log_format asked '$status $http_range';
    access_log {folder}/asked.log asked;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address};
        root {folder}/files;
        location /slow/ {{
            alias {folder}/files/;
            limit_rate 4k;
            limit_rate_after 40k;
        }}
    }}
}}
"""


class Nginx:
    """A web server with the files in `files`; `asked` has status and Range of each request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = folder / "files"
        self.files.mkdir(parents=True)

    def __enter__(self) -> "Nginx":
        found = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        assert found, "nginx is needed, as a server of others (Debian: apt-get install nginx)"
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = "{}:{}".format(*free.getsockname())
        # If root starts nginx, its worker process belongs to another user unless this line is
        # there. That user cannot read the test's folder.
        user = "user root;" if os.geteuid() == 0 else ""
        settings = self._folder / "nginx.conf"
        settings.write_text(NGINX.format(folder=self._folder, address=address, user=user))
        command = [found, "-e", "stderr", "-p", self._folder, "-c", settings]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.url = f"http://{address}/"
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(address.split(":"), 1):
                return self
            assert self._process.poll() is None, self._process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._process.stderr.close()

    def put(self, name: str, data: bytes) -> None:
        """Put a file in place, as a whole and with a date of its own."""
        new = self._folder / "new"
        new.write_bytes(data)
        self._date = getattr(self, "_date", 1_700_000_000) + 10
        os.utime(new, (self._date, self._date))
        new.rename(self.files / name)

    def wait_for(self, status: str) -> None:
        """Wait until the last answer was one of *status*: it is noted after it was sent."""
        deadline = time.monotonic() + 20
        while not self.asked[-1].startswith(status):
            assert time.monotonic() < deadline, self.asked
            time.sleep(0.01)

    @property
    def asked(self) -> list[str]:
        return (self._folder / "asked.log").read_text().splitlines()


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path / "nginx") as nginx:
        yield nginx


def test_a_file_on_nginx_is_taken_when_it_is_another_and_only_then(tmp_path, nginx):
    with Device(tmp_path, update_url=nginx.url + "app.img", **OFTEN) as device:
        nginx.put("app.img", device.image())
        device.board.wait_for("pull: no update")
        start = device.said
        device.board.wait_for("pull: no update", start=start)
        nginx.wait_for("304")
        start = device.said
        nginx.put("app.img", device.next_image())
        device.confirmed(start)
        device.board.wait_for("pull: no update", start=device.line("is confirmed", start))
        nginx.wait_for("304")
    assert [line[:3] for line in nginx.asked].count("200") == 2


def test_a_broken_release_on_nginx_is_fetched_once(tmp_path, nginx):
    raising = 'def main(ota):\n    print("app {version} runs")\n    raise ValueError("no")\n'
    with Device(tmp_path, update_url=nginx.url + "app.img", **OFTEN) as device:
        nginx.put("app.img", device.next_image(raising))
        back = device.line("trial: taken back")
        for _ in range(2):
            start = back = device.line("pull: no update", back + 1)
        assert [line[:3] for line in nginx.asked].count("200") == 1
        nginx.put("app.img", device.next_image(APP))
        device.confirmed(start)


def test_a_download_from_nginx_goes_on_after_a_power_cut(tmp_path, nginx):
    with Device(tmp_path, update_url=nginx.url + "slow/app.img", **OFTEN) as device:
        data = device.next_image(files={"data.bin": filler(70_000)})
        nginx.put("app.img", data)
        device.board.wait_for("bytes announced")
        deadline = time.monotonic() + 30
        # Bytes 32 to 35 of the file say how far the download has come. The test waits for 32768.
        while device.files().get("/.ota/pull", bytes(41))[32:36] != b"\0\x80\0\0":
            assert time.monotonic() < deadline, device.files().get("/.ota/pull")
            time.sleep(0.01)
        start = device.boot("power")
        device.confirmed(start)
        assert device.slot("b")[: len(data)] == data
    assert "206 bytes=32768-" in nginx.asked


# Python's http.server


class _Handler(http.server.SimpleHTTPRequestHandler):
    statuses: list[int] = []

    def log_request(self, code="-", size="-"):
        self.statuses.append(int(code))

    def log_message(self, *_):
        """Say nothing."""


def test_a_file_on_pythons_http_server_is_taken_when_it_is_another_and_only_then(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    _Handler.statuses = []
    handler = functools.partial(_Handler, directory=files)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/app.img"
            with Device(tmp_path, update_url=url, **OFTEN) as device:
                (files / "app.img").write_bytes(device.next_image())
                device.confirmed(0)
                start = device.line("pull: no update", device.line("is confirmed"))
                device.board.wait_for("pull: no update", start=start + 1)
        finally:
            server.shutdown()
            thread.join()
    # This server compares the date of the file, and answers 304 while the file is unchanged.
    assert _Handler.statuses.count(200) == 1 and _Handler.statuses[-1] == 304


# ESPhttpUpdate's own servers


@pytest.mark.parametrize("sample", [sample_of_today, older_sample])
def test_a_board_that_polls_updates_from_the_samples_of_esphttpupdate(tmp_path, sample):
    known: dict = {}
    with WebSite() as site:
        url = site.add("/", run(sample(known)))
        with Device(tmp_path, update_url=url, **OFTEN) as device:
            # Each sample answers with its own error to a board that it does not know.
            error = "404" if sample is sample_of_today else "HTTP 500"
            device.board.wait_for(f"pull: .*{error}")
            mac = site.requests[-1].headers["x-esp8266-sta-mac"]
            assert MAC.fullmatch(mac)
            known[mac] = ("1", device.image())
            device.board.wait_for("pull: no update")
            start = device.said
            known[mac] = ("2", device.next_image())
            device.confirmed(start)
            device.board.wait_for("pull: no update", start=device.line("is confirmed", start))


def test_without_a_version_the_samples_do_as_they_always_did(tmp_path):
    known: dict = {}
    with WebSite() as site, PullingDevice(tmp_path) as device:
        today = site.add("/today", run(sample_of_today(known)))
        older = site.add("/older", run(older_sample(known)))
        device.fails(today, -102)
        mac = site.requests[-1].headers["x-esp8266-sta-mac"]
        known[mac] = ("1", device.image())
        # Today's sample sends nothing to a board that tells no version. The older sample compares
        # the MD5 of the image that the board runs.
        assert device.update(today).result == str(NO_UPDATES)
        assert device.update(older).result == str(NO_UPDATES)
        data = device.next_image()
        known[mac] = ("2", data)
        assert device.update(today).result == str(NO_UPDATES)
        device.installs(older, data)
        assert device.update(today, "2").result == str(NO_UPDATES)
        assert device.update(today, "1").result == str(OK)
        assert device.ask("update_fs", today).error == -102


RACING_APP = (
    """
def race(ota, url):
    ota.pull.check(url)
    for _ in range(3):
        ota.pull.handle()
    from ota.record import load_for_update
    record = load_for_update()
    is_in_it = record.received["b"][2] == bytes(16)
    record.outcome = "written meanwhile"
    record.store()
    while ota.pull.is_checking:
        ota.pull.handle()
    return is_in_it
"""
    + PULLING_APP
)


def test_what_is_written_into_the_record_while_the_md5_is_worked_out_stays(tmp_path):
    with WebSite() as site, PullingDevice(
        tmp_path, RACING_APP, reboot_on_success=True, step_ms=0
    ) as device:  # fmt: skip
        data = device.next_image(files={"data.bin": filler(20_000)})
        plain = site.add("/plain", lambda connection, _: connection.sendall(
            b"HTTP/1.0 200 OK\r\n\r\n" + data))  # fmt: skip
        start = device.command(f"ota.pull.update({plain!r})")
        device.confirmed(start)
        device.board.wait_for("takes commands", start=start)
        url = site.add("/", status("304 Not Modified"))
        said = device.command(f"race(ota, {url!r})", start=start)
        device.board.wait_for("gives True", start=said)
        assert device.record.outcome == "written meanwhile"
        assert device.record.b.md5 == hashlib.md5(data).digest()


def test_a_board_that_got_its_image_without_an_md5_tells_it_all_the_same(tmp_path):
    # The strong handshake announces the image's MD5, and a plain server does not. The older sample
    # needs the MD5 from the board.
    known: dict = {}
    with WebSite() as site, PullingDevice(tmp_path, reboot_on_success=True) as device:
        data = device.next_image(files={"data.bin": filler(20_000)})
        plain = site.add("/plain", lambda connection, _: connection.sendall(
            b"HTTP/1.0 200 OK\r\n\r\n" + data))  # fmt: skip
        start = device.command(f"ota.pull.update({plain!r})")
        device.confirmed(start)
        device.board.wait_for("takes commands", start=start)
        assert device.record.b.md5 == bytes(16)
        older = site.add("/older", run(older_sample(known)))
        device.fails(older, -104)
        known[site.requests[-1].headers["x-esp8266-sta-mac"]] = ("2", data)
        assert device.update(older).result == str(NO_UPDATES)
        # The board has calculated the MD5 once, and stored it.
        assert device.record.b.md5.hex() == site.requests[-1].headers["x-esp8266-sketch-md5"]
