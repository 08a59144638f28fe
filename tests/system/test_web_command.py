"""mpota upload --http and mpota status --http: by the update page, with the usual words."""

import hashlib
import json
import socket
import threading

import pytest
from device import APP
from mpota.cli import app
from raw_host import PASSWORD
from test_web_upload import saved
from typer.testing import CliRunner
from web_client import WebDevice


def run(*arguments, **environment):
    """Run mpota; return the exit status, and what it said on both outputs."""
    words = [str(word) for word in arguments]
    result = CliRunner().invoke(app, words, env={"MPOTA_PASSWORD": ""} | environment)
    return result.exit_code, result.output


def test_an_upload_by_the_page_ends_as_any_other(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD) as device:
        url = f"http://{device.board.ip}"
        image = saved(tmp_path, device.next_image(files={"data.bin": bytes(30_000)}))
        status, said = run("upload", image, "--http", url, "--password", PASSWORD)
        assert status == 0, said
        assert "10 %, " in said and "100 %, " in said
        assert said.strip().endswith("small 2: confirmed")
        # mpota proved the password by Digest with SHA-256, and the proof covered the image's
        # digest, too. It sent no other proof.
        status, said = run("status", "--http", url, "-a", PASSWORD, "--json")
        (told,) = json.loads(said)
        assert (told["version"], told["outcome"], told["board"]) == ("2", "confirmed: 2", url)
        status, said = run("status", "--http", device.board.ip, MPOTA_PASSWORD=PASSWORD)
        assert status == 0 and "small 2" in said and "confirmed: sequence 2" in said


def test_a_version_that_is_taken_back_ends_with_status_1(tmp_path):
    with WebDevice(tmp_path) as device:
        broken = APP[: APP.index("    while True")] + "    raise ValueError('no sensor')\n"
        image = saved(tmp_path, device.next_image(broken))
        status, said = run("upload", image, "--http", device.url)
        assert status == 1
        assert "error: small 2: taken back: raised ValueError" in said
        assert "small 1 runs again" in said


@pytest.mark.parametrize(("settings", "arguments", "words"), [
    ({"web_password": PASSWORD}, [], "the board asks for a password"),
    ({"web_password": PASSWORD}, ["-a", "guess"], "does not take this user and password"),
    ({"web_password": PASSWORD}, ["-a", PASSWORD, "--user", "anna"], "this user and password"),
    ({"web_ha1_md5": hashlib.md5(b"mpota:mpota:geheim").hexdigest()}, ["-a", PASSWORD],
     "give --classic to allow it"),
    ({"password_hash": "0" * 32}, ["-a", PASSWORD], "web_password"),
    ({}, ["-s"], "it is an application image, not data"),
    ({}, ["-i", "127.0.0.1"], "with -i, or its page with --http"),
], ids=["none", "wrong", "user", "weak", "closed", "data", "two"])  # fmt: skip
def test_what_goes_wrong_with_the_password_is_told(tmp_path, settings, arguments, words):
    with WebDevice(tmp_path, **settings) as device:
        image = saved(tmp_path, device.next_image())
        status, said = run("upload", image, "--http", device.url, *arguments)
        assert status == 1 and words in " ".join(said.split()), said
        assert not any("announced" in line for line in device.board.lines)


def test_classic_proofs_do_where_they_are_allowed(tmp_path):
    ha1 = hashlib.md5(b"mpota:mpota:geheim").hexdigest()
    with WebDevice(tmp_path, web_ha1_md5=ha1) as device:
        image = saved(tmp_path, device.next_image())
        status, said = run("upload", image, "--http", device.url, "-a", PASSWORD, "--classic")
        assert status == 0 and "confirmed" in said


def test_what_the_board_refuses_is_told_in_the_same_words(tmp_path):
    with WebDevice(tmp_path) as device, device.unharmed():
        for data, words in (
            (b"no image" * 100, "the file is not an application image"),
            (bytes(200_000), "the image is larger than a slot"),
            (device.image()[:-1], "the image is truncated or damaged"),
            (b"", "is empty, so there is nothing to send"),
        ):
            status, said = run("upload", saved(tmp_path, data), "--http", device.url)
            assert status == 1 and words in " ".join(said.split()), said


def test_an_update_that_needs_the_applications_memory_is_sent_again_by_itself(tmp_path):
    hungry = APP.replace("    print(", "    kept = bytearray(24000)\n    print(")
    with WebDevice(tmp_path, hungry, web_password=PASSWORD) as device:
        image = saved(tmp_path, device.next_image(APP))
        start = device.said
        status, said = run("upload", image, "--http", device.url, "-a", PASSWORD)
        assert status == 0, said
        device.board.wait_for("the services run alone, for one update", start=start)
        assert "confirmed" in said


@pytest.mark.parametrize("said", [
    b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<html",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 500 Oops\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000,
])  # fmt: skip
def test_what_is_no_board_is_told(tmp_path, said):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        status, words = run("status", "--http", url)
        thread.join()
    assert status == 1 and words.startswith("error: ") and "Traceback" not in words


def test_addresses_that_are_none_are_told(tmp_path):
    for url in ("https://127.0.0.1", "http://", "http://127.0.0.1:x", "http://127.0.0.1:1"):
        status, said = run("status", "--http", url)
        assert status == 1 and said.startswith("error: "), said
    assert "no board is given" in run("status")[1]
