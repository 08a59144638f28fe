"""Which requests the page's server accepts: hosts, origins, methods, sizes, and time."""

import contextlib
import socket
import time

import pytest
from device import APP, Device
from raw_host import RawHost
from test_web_upload import is_installed
from web_client import WebDevice, connect, curl, form, hear, hear_bytes, parse, request, say

pytestmark = pytest.mark.parallel


def get(ip, path="/update", **headers):
    return say(ip, request(ip, method="GET", path=path, **headers))


def is_closed_within(connection, seconds):
    """Tell whether the board closes the connection in time; return what it said before."""
    begun = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        hear_bytes(connection)
    return time.monotonic() - begun < seconds


def test_another_host_is_not_answered(tmp_path):
    with WebDevice(tmp_path, hostname="Valves") as device, device.unharmed():
        ip, data = device.board.ip, device.image()
        for host in (ip, ip + ":80", ip + ":8080", "valves", "VALVES.local", "valves.local:80"):
            assert get(ip, Host=host).status == 200, host
        for host in ("", "evil.example", "127.0.0.1", ip + ".evil.example", "x" + ip, ip + ":x",
                     "valves.evil.example", "valves.local.", "local", "0.0.0.0"):  # fmt: skip
            for answer in (get(ip, Host=host), device.post(data, Host=host)):
                assert answer.status == 403, host
        # Such a request is refused before the password is asked for.
        assert "www-authenticate" not in get(ip, Host="evil.example").headers


def test_pages_of_others_change_nothing(tmp_path):
    with WebDevice(tmp_path, hostname="valves") as device, device.unharmed():
        ip, data = device.board.ip, device.image()
        for origin in ("null", "http://evil.example", f"https://{ip}", f"http://{ip}:8080",
                       f"http://{ip}.evil.example", "http://valves", ip, "file://"):  # fmt: skip
            for answer in (
                device.post(data, Origin=origin),
                device.post(b"", "/restart", Origin=origin),
                device.post(form(("a", "b", data)), Origin=origin,
                            Content_Type="multipart/form-data; boundary=xyz"),
                get(ip, "/update/status", Origin=origin),
            ):  # fmt: skip
                assert answer.status == 403, origin
                assert "access-control-allow-origin" not in answer.headers
        # The board's own page may send such requests, under each name of the board.
        for host in (ip, "valves.local", f"{ip}:8080"):
            origin = f"http://{host}"
            answer = device.post(b"", "/confirm", Host=host, Origin=origin)
            assert (answer.status, answer.text) == (409, "no version is on trial\n")


def test_a_browser_is_told_of_no_way_in_from_elsewhere(tmp_path):
    with WebDevice(tmp_path) as device:
        ip = device.board.ip
        for path in ("/update", "/update/restart", "/"):
            answer = say(ip, request(ip, method="OPTIONS", path=path, Content_Length="0"))
            assert answer.status == 405
            assert not [name for name in answer.headers if name.startswith("access-control")]
        headers = get(ip).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert device.board.boots == 1


def test_what_changes_something_is_posted_and_nothing_else(tmp_path):
    with WebDevice(tmp_path) as device, device.unharmed():
        ip = device.board.ip
        for action in ("confirm", "reject", "revert", "restart"):
            for method in ("GET", "HEAD", "PUT", "DELETE", "post", "TRACE", "X", "P", "POS"):
                answer = parse_head(ip, method, f"/update/{action}")
                assert (answer.status, answer.headers["allow"]) == (405, "POST")
        for method, path, allowed in (
            ("PUT", "/update", "GET, HEAD, POST"),
            ("OST", "/update", "GET, HEAD, POST"),
            ("GET,", "/update", "GET, HEAD, POST"),
            ("POST", "/update/status", "GET, HEAD"),
            ("POST", "/", "GET, HEAD"),
        ):
            answer = parse_head(ip, method, path)
            assert (answer.status, answer.headers["allow"]) == (405, allowed)
        for path in ("/update/", "/updat", "/update/x", "/index.html", "/update/status/", "//"):
            assert parse_head(ip, "GET", path).status == 404


def parse_head(ip, method, path):
    return say(ip, request(ip, method=method, path=path, Content_Length="0"))


def test_a_head_is_answered_without_a_body(tmp_path):
    with WebDevice(tmp_path) as device:
        answer = curl("--head", device.url)
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 100


def test_a_body_must_say_how_long_it_is(tmp_path):
    with WebDevice(tmp_path) as device, device.unharmed():
        ip = device.board.ip
        chunked = (
            request(ip, Content_Length="", Transfer_Encoding="chunked") + b"3\r\nabc\r\n0\r\n\r\n"
        )
        for data, status in (
            (request(ip, Content_Length=""), 411),
            (chunked, 411),
            (request(ip, Transfer_Encoding="chunked"), 411),
            (request(ip, Content_Length="x"), 400),
            (request(ip, Content_Length="-1"), 400),
            (request(ip, Content_Length="1e3"), 400),
            (request(ip, Content_Length="9999999999"), 400),
            (request(ip, Content_Length="5", content_length="6"), 400),
            (request(ip, path="/update/restart", Content_Length="257"), 413),
            (request(ip, path="/update/restart", Content_Length=""), 411),
            (request(ip, method="GET", Content_Length="257"), 413),
            (request(ip, method="HEAD", path="/update/status", Content_Length="14000"), 413),
        ):
            assert say(ip, data).status == status, data


def test_a_request_is_bounded(tmp_path):
    with WebDevice(tmp_path) as device, device.unharmed():
        ip = device.board.ip
        assert get(ip, "/update?" + "x" * 480).status == 200
        for data, status in (
            (request(ip, method="GET", path="/" + "x" * 600), 414),
            (b"x" * 600, 414),
            (request(ip, method="GET", Authorization="x" * 600), 431),
            (request(ip, method="GET", Cookie="x" * 9000), 431),
            (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000, 431),
            (b"\r\n\r\n", 400),
            (b"GET /\r\n\r\n", 400),
            (b"GET /update HTTP/1.1 x\r\n\r\n", 400),
            (b"GET  /update HTTP/1.1\r\n\r\n", 400),
            (b"GET http://x/update HTTP/1.1\r\n\r\n", 400),
            (b"GET /upd\xc3\xa4te HTTP/1.1\r\n\r\n", 400),
            (b"G\xffT /update HTTP/1.1\r\n\r\n", 400),
            (b" /update HTTP/1.1\r\n\r\n", 400),
            (b"GET /update\0 HTTP/1.1\r\n\r\n", 400),
            (b"GET /update HTTP/1.1\r\nHost\r\n\r\n", 400),
            (b"GET /update HTTP/1.1\r\n folded\r\n\r\n", 400),
            (b"GET /update HTTP/2.0\r\n\r\n", 505),
            (bytes(range(128, 256)) * 3 + b"\n\n", 400),
        ):
            assert say(ip, data).status == status, data
        # A page on this address may have left cookies of 4 KB in the browser.
        assert get(ip, Cookie="x" * 4000).status == 200


def test_a_request_in_whatever_pieces_is_the_same(tmp_path):
    with WebDevice(tmp_path) as device:
        ip = device.board.ip
        whole = request(ip, b"12", path="/update/confirm", Accept="application/json")
        for at in range(1, len(whole), 13):
            answer = say(ip, whole[:at], whole[at:])
            assert (answer.status, answer.json["ok"]) == (409, False), at
        with connect(ip) as connection:
            for i in range(len(whole)):
                connection.sendall(whole[i : i + 1])
            assert hear(connection).status == 409


def test_who_is_slow_is_dropped(tmp_path):
    with WebDevice(tmp_path) as device, contextlib.ExitStack() as stack:
        ip = device.board.ip
        data = device.next_image(files={"data.bin": bytes(9000)})
        spare = stack.enter_context(connect(ip))
        slow_head = stack.enter_context(connect(ip))
        slow_head.sendall(b"GET /update HTTP/1.1\r\n")
        begun = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(30):
                slow_head.sendall(b"X: y\r\n")
                time.sleep(0.25)
        answer = parse(hear_bytes(slow_head))
        assert answer.status == 408 and 4 < time.monotonic() - begun < 12
        start = device.said
        silent = stack.enter_context(connect(ip))
        silent.sendall(request(ip, data)[:-4000])
        device.board.wait_for("announced", start=start)
        assert is_closed_within(spare, 20)
        assert is_closed_within(silent, 25)
        device.board.wait_for("update failed, code 3", start=start)
        start = device.said
        is_installed(device, start, device.post(data))


def test_two_are_served_and_others_told_to_come_again(tmp_path):
    with WebDevice(tmp_path) as device, contextlib.ExitStack() as stack:
        ip = device.board.ip
        spares = [stack.enter_context(connect(ip)) for _ in range(2)]
        first = stack.enter_context(connect(ip))
        first.sendall(b"GET /update HTTP/1.1\r\n")
        # Spare connections, which a browser opens in advance, do not count.
        assert get(ip).status == 200
        second = stack.enter_context(connect(ip))
        second.sendall(b"GET /update HTTP/1.1\r\n")
        time.sleep(0.2)
        answer = get(ip)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        second.sendall(f"Host: {ip}\r\n\r\n".encode())
        assert hear(second).status == 200
        # The board has either closed the spare connections, or it still answers a request on them.
        assert get(ip).status == 200
        for spare in spares:
            with contextlib.suppress(ConnectionError):
                spare.sendall(request(ip, method="GET"))
                said = hear_bytes(spare)
                assert said == b"" or parse(said).status == 200
        first.sendall(f"Host: {ip}\r\n\r\n".encode())
        assert hear(first).status == 200


def test_many_connections_that_say_nothing_keep_nobody_out(tmp_path):
    with WebDevice(tmp_path) as device, contextlib.ExitStack() as stack:
        ip = device.board.ip
        for _ in range(40):
            connection = socket.socket()
            stack.callback(connection.close)
            connection.setblocking(False)
            connection.connect_ex((ip, 80))
        deadline = time.monotonic() + 60
        answer = None
        while answer is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                answer = get(ip)
        assert answer and answer.status == 200


def test_requests_behind_the_first_are_not_looked_at(tmp_path):
    with WebDevice(tmp_path) as device, device.unharmed():
        ip = device.board.ip
        with connect(ip) as connection:
            restart = request(ip, path="/update/restart")
            connection.sendall(request(ip, method="GET", path="/update/status") + restart * 20)
            with contextlib.suppress(ConnectionResetError):
                said = hear_bytes(connection)
                assert said.count(b"HTTP/1.1 ") == 1
        time.sleep(0.5)
        assert device.status()["uptime"] >= 0 and device.board.boots == 1


def test_an_update_goes_on_while_others_ask(tmp_path):
    with WebDevice(tmp_path, heap="80k") as device, connect(device.board.ip) as connection:
        ip = device.board.ip
        data = device.next_image(files={"data.bin": bytes(30_000)})
        start = device.said
        whole = request(ip, data)
        for at in range(0, len(whole), 3000):
            connection.sendall(whole[at : at + 3000])
            device.board.wait_for("announced", start=start)
            assert device.status()["state"] == "updating"
        is_installed(device, start, hear(connection))


def test_the_buttons_of_the_page_do_nothing_in_an_update(tmp_path):
    with WebDevice(tmp_path, heap="80k") as device, connect(device.board.ip) as connection:
        data = device.next_image(files={"data.bin": bytes(9_000)})
        start = device.said
        whole = request(device.board.ip, data)
        connection.sendall(whole[:3000])
        device.board.wait_for("announced", start=start)
        for action in ("revert", "restart"):
            answer = device.post(b"", f"/{action}")
            assert answer.status == 409 and "ERROR[15]" in answer.text
        connection.sendall(whole[3000:])
        is_installed(device, start, hear(connection))


def test_confirm_and_reject_act_in_a_trial(tmp_path):
    with WebDevice(tmp_path, confirm_s=3600) as device:
        for action in ("confirm", "reject"):
            answer = device.post(b"", f"/{action}")
            assert (answer.status, answer.text) == (409, "no version is on trial\n")
        _on_trial(device)
        assert device.status()["state"].startswith("trial ")
        answer = device.post(b"", "/confirm", Accept="application/json")
        assert answer.json == {"ok": True, "text": "confirmed"}
        status = device.status()
        assert (status["version"], status["outcome"]) == ("2", "confirmed: 2")
        _on_trial(device)
        start = device.said
        answer = device.post(b"", "/reject")
        assert (answer.status, answer.text) == (200, "the board restarts\n")
        device.board.wait_for("app 2 runs", start=start)
        device.board.wait_for("web: http", start=start)
        assert "taken back: 3" in device.status()["outcome"]
        assert "the owner wished it" in device.status()["outcome"]


def test_a_version_that_is_rejected_leaves_whoever_closes_the_connection(tmp_path):
    with WebDevice(tmp_path, confirm_s=3600) as device, RawHost(device.board.ip) as host:
        _on_trial(device)
        start = device.said
        with connect(device.board.ip) as connection:
            connection.sendall(request(device.board.ip, path="/update/reject"))
            assert connection.recv(12) == b"HTTP/1.1 200"
            # For an update, the listener closes the connections to the page.
            host.invite(1000)
            device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("web: http", start=start)
        assert "taken back: 2" in device.status()["outcome"]


def _on_trial(device):
    start = device.said
    assert device.post(device.next_image()).status == 200
    device.board.wait_for(f"app {device.sequence} runs", start=start)
    device.board.wait_for("web: http", start=start)


def test_revert_goes_back_and_restart_restarts(tmp_path):
    with WebDevice(tmp_path) as device:
        answer = device.post(b"", "/revert")
        assert answer.status == 409 and "no version before this one" in answer.text
        start = device.said
        is_installed(device, start, device.post(device.next_image()))
        device.board.wait_for("web: http", start=start)
        start = device.said
        assert device.post(b"", "/restart").status == 200
        device.board.wait_for("app 2 runs", start=start)
        device.board.wait_for("web: http", start=start)
        start = device.said
        assert device.post(b"", "/revert").status == 200
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("web: http", start=start)
        assert device.status()["version"] == "1"


def test_the_page_is_off_unless_the_settings_or_the_application_turn_it_on(tmp_path):
    begins = APP.replace("    print(", "    ota.web.begin()\n    print(")
    for number, (app, settings, is_on) in enumerate((
        (APP, {"web": False}, False),
        (begins, {"web": False}, True),
        (APP, {"web": True, "web_port": 8080}, True),
    )):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        with Device(folder, app, **settings) as device:
            port = settings.get("web_port", 80)
            if is_on:
                device.board.wait_for(f"web: http://{device.board.ip}:{port}/update")
                assert curl(f"http://{device.board.ip}:{port}/update").status == 200
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((device.board.ip, 80 if port != 80 or not is_on else 81))


def test_an_application_with_a_server_on_that_port_is_no_worse_for_it(tmp_path):
    app = APP.replace(
        "def main(ota):",
        "import socket\ndef main(ota):\n    s = socket.socket()\n    s.bind(('', 80))\n"
        "    s.listen(1)",
    )
    with Device(tmp_path, app, web=True) as device:
        device.board.wait_for("web: there is no page: .*EADDRINUSE")
        device.update(device.next_image(app))
        assert sum("EADDRINUSE" in line for line in device.board.lines) <= 2  # one for each boot
