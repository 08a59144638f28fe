"""`mpota serve --simple`: who gets which image, by the rules of ESPhttpUpdate's servers."""

import hashlib
import http.client
import os
import re
import runpy
import signal
import subprocess
import sys
import threading

import pytest
from mpota import cli, image
from mpota.cli import serve
from mpota.server import simple
from mpota.server.simple import Exchange, ImageFolder, Release, Reply, SimpleServer, decide
from typer.testing import CliRunner

MAC = "5C:CF:7F:C0:FF:02"
# What every sketch sends, and every board of ours.
BOARD = {
    "User-Agent": "ESP8266-http-Update",
    "x-ESP8266-STA-MAC": MAC,
    "x-ESP8266-mode": "sketch",
    "x-ESP8266-sketch-md5": "0" * 32,
}


def release(name: str = "garden", sequence: int = 2) -> bytes:
    files = {"app.mpy": b"M\x06" + bytes(5000)}
    return image.build(name=name, version=f"{sequence}.0.0", sequence=sequence, files=files)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "garden-1.0.0.img").write_bytes(release(sequence=1))
    (tmp_path / "garden-2.0.0.img").write_bytes(release(sequence=2))
    return tmp_path


@pytest.fixture
def complaints():
    return []


@pytest.fixture
def images(folder, complaints):
    return ImageFolder(folder, complaints.append)


def ask(images, path="/", **headers):
    """Return the status and the version of the release."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = decide(images, path, BOARD | named)
    return reply.status, reply.release and reply.release.manifest.version


def test_a_board_with_another_version_gets_the_highest_sequence(images):
    assert ask(images, x_ESP8266_version="1.0.0") == (200, "2.0.0")
    assert ask(images, x_ESP8266_version="9.0.0") == (200, "2.0.0")


def test_a_board_with_that_version_gets_nothing(images):
    assert ask(images, x_ESP8266_version="2.0.0") == (304, "2.0.0")


def test_without_a_version_the_md5_decides(images, folder):
    md5 = hashlib.md5((folder / "garden-2.0.0.img").read_bytes()).hexdigest()
    assert ask(images) == (200, "2.0.0")
    assert ask(images, x_ESP8266_sketch_md5=md5) == (304, "2.0.0")
    assert ask(images, x_ESP8266_sketch_md5=md5.upper()) == (304, "2.0.0")


def test_only_updaters_are_answered(images):
    assert ask(images, User_Agent="Mozilla/5.0")[0] == 403
    assert ask(images, x_ESP8266_STA_MAC="")[0] == 403
    assert ask(images, x_ESP8266_STA_MAC="../../etc")[0] == 403


def test_there_are_no_images_of_file_systems(images):
    assert ask(images, x_ESP8266_mode="spiffs")[0] == 404


def test_a_version_is_told_without_an_image(images):
    reply = decide(images, "/", BOARD | {"x-ESP8266-mode": "version"})
    assert (reply.status, reply.release.manifest.version, reply.has_body) == (200, "2.0.0", False)


def test_a_board_gets_its_own_application_alone(images, folder):
    (folder / "pond.img").write_bytes(release("pond", 9))
    assert ask(images, x_mpota_name="garden") == (200, "2.0.0")
    assert ask(images, x_mpota_name="pond") == (200, "9.0.0")
    assert ask(images, x_mpota_name="attic")[0] == 404
    assert ask(images, "/pond") == (200, "9.0.0")
    assert ask(images, "/updates/pond?x=1") == (200, "9.0.0")
    assert ask(images)[0] == 404  # which one is meant?


def test_a_folder_of_a_mac_address_is_for_that_board(images, folder):
    own = folder / MAC.replace(":", "")
    own.mkdir()
    (own / "trial.img").write_bytes(release(sequence=7))
    assert ask(images) == (200, "7.0.0")
    assert ask(images, x_ESP8266_STA_MAC="5C:CF:7F:C0:FF:03") == (200, "2.0.0")


def test_what_is_no_good_image_is_said_once_and_left_out(images, folder, complaints):
    half = folder / "garden-3.0.0.img"
    half.write_bytes(release(sequence=3)[:-100])
    for _ in range(2):
        assert ask(images) == (200, "2.0.0")
    assert len(complaints) == 1 and "garden-3.0.0.img" in complaints[0]
    half.write_bytes(release(sequence=3))
    assert ask(images) == (200, "3.0.0")


def test_an_etag_that_matches_is_answered_304(images, folder):
    etag = Release(None, b"", hashlib.md5(release()).hexdigest()).etag
    assert ask(images, If_None_Match=etag)[0] == 304
    assert ask(images, If_None_Match='"other"')[0] == 200


@pytest.fixture
def connection(images):
    with SimpleServer(("127.0.0.1", 0), images) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        server.shutdown()
        thread.join()


def test_over_a_socket_the_image_comes_with_its_md5(connection):
    connection.request("GET", "/", headers=BOARD)
    reply = connection.getresponse()
    data = reply.read()
    assert (reply.status, data) == (200, release())
    assert reply.headers["x-MD5"] == hashlib.md5(data).hexdigest()


def test_a_range_is_served_of_the_same_file_alone(connection):
    data = release()
    etag = f'"{hashlib.md5(data).hexdigest()}"'
    ranged = BOARD | {"Range": "bytes=4096-", "If-Range": etag}
    connection.request("GET", "/", headers=ranged)
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (206, data[4096:])
    assert reply.headers["Content-Range"] == f"bytes 4096-{len(data) - 1}/{len(data)}"
    connection.request("GET", "/", headers=ranged | {"If-Range": '"other"'})
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, data)
    connection.request("GET", "/", headers=ranged | {"Range": f"bytes={len(data)}-"})
    assert connection.getresponse().status == 416


def test_the_command_prints_a_line_for_each_request_and_ends_with_ctrl_c(folder):
    command = [sys.executable, "-m", "mpota", "serve", "--simple", str(folder)]
    command += ["--bind", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            port = int(re.search(r"http://127.0.0.1:(\d+)/", process.stdout.readline())[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            told = {
                "x-ESP8266-version": "1.0.0",
                "x-mpota-name": "garden",
                "x-mpota-outcome": "confirmed: 1",
            }
            for _ in range(2):
                connection.request("GET", "/", headers=BOARD | told)
                size = len(connection.getresponse().read())
            lines = [process.stdout.readline()[9:] for _ in range(2)]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    line = f"{MAC} garden 1.0.0 -> 200 garden 2.0.0, {size} bytes"
    assert lines == [line + " (confirmed: 1)\n", line + "\n"]


OTHERS = {
    "--database": "postgresql://u@h/n", "--workers": "1", "--unknown": "refuse",
    "--arduino": "current", "--key": "public.pem", "--fleet-secret": "geheim",
    "--board-secrets": None, "--images-url": "http://h/", "--accel": "/images",
    "--proxy": "127.0.0.1", "--log": "json",
}  # fmt: skip


def run_simply(folder, *arguments, **environment):
    """Run the command where it cannot listen, and return its one line of error."""
    command = ["serve", "--simple", str(folder), "--bind", "203.0.113.1", *arguments]
    ran = CliRunner().invoke(cli.app, command, env=environment)
    assert ran.exit_code == 1 and ran.stderr.count("\n") == 1
    return ran.stderr


def test_an_option_that_only_the_full_server_has_is_refused(folder):
    with_help = CliRunner().invoke(cli.app, ["serve", "run", "--help"], env={"COLUMNS": "200"})
    known = set(re.findall(r"^ +(--[a-z-]+)", with_help.stdout, re.MULTILINE))
    assert known == {"--simple", "--bind", "--port", *OTHERS}
    for option, value in OTHERS.items():
        said = run_simply(folder, option, *filter(None, [value]))
        assert f"--simple does not know the option {option}: leave out" in said
        assert "geheim" not in said
    said = run_simply(folder, MPOTA_FLEET_SECRET="geheim")
    assert "unset it" in said and "MPOTA_FLEET_SECRET" in said and "geheim" not in said
    assert "cannot listen at 203.0.113.1" in run_simply(folder, MPOTA_FLEET_SECRET="")


def test_what_a_board_tells_of_itself_cannot_control_the_terminal(capsys):
    told = ("\x1b[2J1", "garden\n\x07 1", "confirmed\x9b1m: 1")
    serve._Log().show(Exchange(*told, Reply(304), 0))
    line = capsys.readouterr().out
    assert line.removesuffix("\n").isprintable()
    assert line[9:] == "[2J1 garden   1 -> 304 (confirmed 1m: 1)\n"


def test_two_programs_cannot_listen_at_one_port_on_windows_either(monkeypatch):
    for system, is_reused in (("nt", False), ("posix", True)):
        with monkeypatch.context() as on:
            on.setattr(os, "name", system)
            server = runpy.run_path(simple.__file__)["SimpleServer"]
        assert server.allow_reuse_address is is_reused


def test_a_folder_that_is_not_there_is_said(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "mpota", "serve", "--simple", "nowhere"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1 and "nowhere is no folder" in ran.stderr


def test_without_the_extra_the_simple_server_works_and_the_other_says_what_to_install(tmp_path):
    code = """
import sys
for name in ("granian", "starlette", "sqlalchemy", "msgspec", "jinja2", "argon2", "alembic"):
    sys.modules[name] = None
from mpota import cli
cli.main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, "serve", "."], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 1 and 'pip install -e ".[server]"' in ran.stderr
    assert ran.stderr.count("\n") == 1
    ran = subprocess.run(
        [sys.executable, "-c", code, "serve", "--simple", "nowhere"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert "nowhere is no folder" in ran.stderr
