"""The page's password: Digest and Basic, asked for before a body is read, and hard to guess."""

import base64
import hashlib
import socket
import time

import pytest
from raw_host import PASSWORD
from test_web_upload import SUCCESS, is_installed, saved
from web_client import (
    WebDevice,
    basic,
    challenges,
    connect,
    curl,
    digest,
    hear,
    hear_bytes,
    request,
    say,
)

pytestmark = pytest.mark.parallel

USER = "mpota"


def ha1(algorithm, password=PASSWORD, user=USER):
    """Return what the settings hold in place of the password."""
    return hashlib.new(algorithm, f"{user}:mpota:{password}".encode()).hexdigest()


HA1S = {"web_ha1_md5": ha1("md5"), "web_ha1_sha256": ha1("sha256").upper()}


def ask(ip, **headers):
    """Ask for the status; return all bytes of the answer."""
    headers = {"method": "GET", "path": "/update/status"} | headers
    with connect(ip) as connection:
        connection.sendall(request(ip, **headers))
        return hear_bytes(connection)


def ask_from(number, ip, value):
    """Ask with the credentials *value*, from an address of its own."""
    with socket.socket() as connection:
        connection.settimeout(20)
        connection.bind((f"127.9.{number // 250}.{number % 250 + 1}", 0))
        connection.connect((ip, 80))
        headers = {"method": "GET", "path": "/update/status", "Authorization": value}
        connection.sendall(request(ip, **headers))
        return hear_bytes(connection)


def status_of(said):
    return int(said.split()[1])


def challenge(ip, algorithm="SHA-256"):
    """Let the board ask for the password; return the challenge for *algorithm*."""
    return challenges(ask(ip))[algorithm]


def log_in(ip, algorithm="SHA-256", **changes):
    """Ask for a challenge and answer it; return the status."""
    changes = {"uri": "/update/status"} | changes
    return status_of(ask(ip, Authorization=digest(challenge(ip, algorithm), **changes)))


@pytest.mark.parametrize("settings", [
    {"web_password": PASSWORD},
    HA1S,
    {"password": PASSWORD},  # the page uses it, too, if it has none of its own
    {"web_password": PASSWORD, "web_user": "ann o'nym", "password": "another"},
], ids=["password", "digests", "the listener's", "user"])  # fmt: skip
def test_curl_and_a_client_of_our_own_log_in(tmp_path, settings):
    user = settings.get("web_user", USER)
    with WebDevice(tmp_path, **settings) as device:
        ip, log = device.board.ip, f"{user}:{PASSWORD}"
        for how in ("--basic", "--digest", "--anyauth"):
            assert device.curl(how, "--user", log, path="/status").status == 200, how
            assert device.curl(how, "--user", log + "x", path="/status").status == 401, how
            assert device.curl(how, "--user", log, path="/status").status == 200, how
        assert sorted(challenges(ask(ip))) == ["Basic", "MD5", "SHA-256"]
        for algorithm in ("MD5", "SHA-256"):
            assert log_in(ip, algorithm, user=user) == 200
        # If the client names no algorithm, the algorithm is MD5 (RFC 7616, 3.4).
        value = digest(challenge(ip, "MD5"), user=user, uri="/update/status", algorithm="-")
        assert status_of(ask(ip, Authorization=value)) == 200
        start = device.said
        image = saved(tmp_path, device.next_image())
        device.password = settings.get("password", "")
        answer = device.curl("--digest", "--user", log, "-F", f"image=@{image}")
        is_installed(device, start, answer)
        start = device.said
        image = saved(tmp_path, device.next_image())
        is_installed(device, start, device.curl("--user", log, "-F", f"image=@{image}"))


def test_the_password_is_asked_for_before_the_body_is_read(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD) as device, device.unharmed():
        ip = device.board.ip
        operations = device.board.operations
        with connect(ip) as connection:
            connection.sendall(request(ip, Content_Length="90000"))  # the body is not sent
            assert hear(connection).status == 401
        with connect(ip) as connection:
            connection.sendall(request(ip, Content_Length="90000", Expect="100-continue"))
            assert hear_bytes(connection).startswith(b"HTTP/1.1 401 ")
        # A client that sends the body all the same gets the answer. Its connection is not
        # reset.
        answer = device.post(device.image(), Authorization="")
        assert (answer.status, answer.text) == (401, "user and password are needed\n")
        assert device.board.operations == operations


def test_every_way_to_the_board_but_its_front_page_needs_the_password(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD) as device, device.unharmed():
        ip = device.board.ip
        for path in ("", "/status"):
            assert device.curl(path=path).status == 401
        for path in ("", "/confirm", "/reject", "/revert", "/restart"):
            assert device.post(b"", path, Authorization="").status == 401
        answer = curl(f"http://{ip}/")  # the answer tells only where the page is
        assert (answer.status, answer.headers["location"]) == (302, "/update")
        answer = curl("--location", "--user", f"{USER}:{PASSWORD}", f"http://{ip}/")
        assert answer.status == 200


def test_wrong_credentials_of_every_kind_are_refused(tmp_path):
    # Each value comes from another client, so that the pause after a wrong one delays no other.
    with WebDevice(tmp_path, web_password=PASSWORD) as device, device.unharmed():
        ip = device.board.ip
        long = "x" * 300
        values = [basic(USER, PASSWORD[:n]) for n in range(len(PASSWORD))]
        values += [basic(USER, PASSWORD + c) for c in ("x", " ", "\0", long)]
        values += [basic(user, PASSWORD) for user in ("", "Mpota", USER[:-1], "mpota ", long)]
        values += ["Basic", "Basic ", "Basic *", "Basic " + base64.b64encode(b"mpota").decode()]
        values += [f"Bearer {PASSWORD}", PASSWORD, "Digest", "Digest ", 'Digest username="mpota"']
        fresh = challenge(ip)
        for changes in (
            {"password": ""}, {"password": PASSWORD[:-1]}, {"user": ""}, {"user": "x" * 60},
            {"realm": "other"}, {"qop": "auth-int"}, {"qop": "-"}, {"nc": "-"}, {"cnonce": "-"},
            {"nonce": "-"}, {"uri": "/update/restart"}, {"uri": "/update"}, {"uri": ""},
            {"method": "POST"}, {"algorithm": "SHA-512-256"}, {"algorithm": "MD5"},
            {"response": ""}, {"response": "0" * 64}, {"response": "-"}, {"nc": "0x000001"},
            {"nc": "1"}, {"nc": "-0000001"},
        ):  # fmt: skip
            values.append(digest(fresh, **{"uri": "/update/status"} | changes))
        good = digest(fresh, uri="/update/status")
        values += [good.replace('response="', 'response="0'), good[:-1], good.replace("nc=", "nd=")]
        for n, value in enumerate(values):
            said = ask_from(n, ip, value)
            assert said.startswith(b"HTTP/1.1 401 "), (value, said)
        said = ask(ip, Authorization="Basic " + "x" * 600)
        assert said.startswith(b"HTTP/1.1 431 ")
        time.sleep(0.5)
        assert status_of(ask(ip, Authorization=good)) == 200


def test_what_was_recorded_on_the_network_cannot_be_sent_again(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD) as device:
        ip = device.board.ip
        fresh = challenge(ip)
        counts = [3, 4, 9]
        for count in counts:
            value = digest(fresh, count=count, uri="/update/status")
            assert status_of(ask(ip, Authorization=value)) == 200
        for count in [*counts, 1, 5]:
            said = ask(ip, Authorization=digest(fresh, count=count, uri="/update/status"))
            # The browser tries again by itself with the new nonce, and does not ask the user.
            assert status_of(said) == 401
            assert all(c["stale"] == "true" for n, c in challenges(said).items() if n != "Basic")
        # A proof for another address, or another method, cannot be used either.
        value = digest(fresh, count=10, uri="/update/status")
        assert status_of(ask(ip, path="/update", Authorization=value)) == 401
        # The board forgets an older nonce when newer ones are used, but not when they are only
        # asked for.
        for _ in range(20):
            newest = challenge(ip)
        time.sleep(0.6)
        value = digest(fresh, count=11, uri="/update/status")
        assert status_of(ask(ip, Authorization=value)) == 200
        for _ in range(4):
            assert log_in(ip) == 200
        said = ask(ip, Authorization=digest(fresh, count=12, uri="/update/status"))
        assert challenges(said)["SHA-256"]["stale"] == "true"
        said = ask(ip, Authorization=digest(newest, uri="/update/status"))
        assert challenges(said)["SHA-256"]["stale"] == "true"
        # A restart makes all nonces old. An old nonce does not count as a wrong password.
        value = digest(challenge(ip), uri="/update/status")
        device.boot()
        device.board.wait_for("web: http", start=device.said - 3)
        said = ask(ip, Authorization=value)
        assert challenges(said)["SHA-256"]["stale"] == "true"
        assert not [line for line in device.board.lines if "authentication failed" in line][1:]


def test_nonces_are_all_different_and_nobody_can_make_one(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD) as device:
        ip = device.board.ip
        nonces = [challenge(ip)["nonce"] for _ in range(30)]
        assert len(set(nonces)) == 30 and all(len(nonce) == 32 for nonce in nonces)
        made = dict(challenge(ip), nonce=nonces[-1][:8] + "0" * 24)
        said = ask(ip, Authorization=digest(made, uri="/update/status"))
        assert challenges(said)["SHA-256"]["stale"] == "true"


def test_guessing_takes_longer_each_time_and_only_for_who_guesses(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD) as device:
        ip = device.board.ip
        took = []
        for _ in range(5):
            begun = time.monotonic()
            assert status_of(ask(ip, Authorization=basic(USER, "guess"))) == 401
            took.append(time.monotonic() - begun)
        # The first guess is answered at once, the others 0.5, 1, 2 and 4 s after the one before.
        assert took[4] > 3.5 and took[3] > 1.7
        with connect(ip) as waiting:
            waiting.sendall(request(ip, method="GET", Authorization=basic(USER, "guess")))
            time.sleep(0.3)
            # If the same client tries again meanwhile, it is refused, and told when to come again.
            said = ask(ip, Authorization=basic(USER, PASSWORD))
            assert said.startswith(b"HTTP/1.1 429 ") and b"\r\nRetry-After: " in said
            # Two other clients are served at once.
            begun = time.monotonic()
            with connect(ip) as open_one:
                open_one.sendall(b"GET ")
                said = ask_from(1, ip, basic(USER, PASSWORD))
            assert said.startswith(b"HTTP/1.1 200 ") and time.monotonic() - begun < 3


def test_a_strict_board_takes_sha256_alone_and_binds_the_image(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD, auth="strict") as device:
        ip, log = device.board.ip, f"{USER}:{PASSWORD}"
        assert list(challenges(ask(ip))) == ["SHA-256"]
        assert status_of(ask(ip, Authorization=basic(USER, PASSWORD))) == 401
        image = saved(tmp_path, device.next_image())
        sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
        answer = device.curl("--digest", "--user", log, "-F", f"image=@{image}")
        assert answer.status == 403 and "/update?sha256=" in answer.text
        empty = device.curl(
            "--digest", "--user", log, "-F", f"image=@{image}", path=f"?sha256={sha256}&sha256="
        )
        assert empty.status == 403
        # The proof covers the address, which contains the digest of the image that must follow.
        fresh = challenge(ip)
        other = request(ip, b"other", path=f"/update?sha256={sha256}", Authorization=digest(
            fresh, method="POST", uri=f"/update?sha256={sha256}"))  # fmt: skip
        answer = say(ip, other)
        assert answer.status == 422 and "ERROR[" in answer.text
        value = digest(fresh, method="POST", uri=f"/update?sha256={sha256}", count=2)
        changed = request(ip, b"x", path="/update?sha256=" + "0" * 64, Authorization=value)
        assert say(ip, changed).status == 401
        time.sleep(0.6)
        start = device.said
        answer = device.curl(
            "--digest", "--user", log, "-F", f"image=@{image}", path=f"?sha256={sha256}"
        )
        is_installed(device, start, answer)


@pytest.mark.parametrize("settings", [
    {"password_hash": hashlib.md5(PASSWORD.encode()).hexdigest()},
    {"auth": "strict"},
    {"web_password": 1234},
    {"web_ha1_sha256": "12"},
    {"auth": "strict", "web_ha1_md5": ha1("md5")},
], ids=["listener's digest", "strict", "wrong", "wrong digest", "MD5 but strict"])  # fmt: skip
def test_a_board_with_a_password_that_the_page_cannot_ask_for_is_closed(tmp_path, settings):
    with WebDevice(tmp_path, **settings) as device:
        for answer in (device.curl(), device.post(device.next_image())):
            assert answer.status == 403 and "web_password" in answer.text
        assert "www-authenticate" not in answer.headers
        assert device.board.boots == 1


def test_a_board_without_a_password_says_so(tmp_path):
    with WebDevice(tmp_path) as device:
        assert device.status()["open"] is True
        assert SUCCESS not in device.curl().text
    (tmp_path / "other").mkdir()
    with WebDevice(tmp_path / "other", web_password=PASSWORD) as device:
        assert device.curl("--user", f"{USER}:{PASSWORD}", path="/status").json["open"] is False
