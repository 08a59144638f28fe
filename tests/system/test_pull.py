"""The pull client against a server of the test's: requests, results, the order of callbacks."""

import base64
import select
import socket
import threading

import boards
import pytest
import web_site
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.image.data import build
from mpota.sim import Board, create_flash
from mpota.sim.rom_modules import control
from pulling import NO_UPDATES, OK, PullingDevice, an_image
from web_site import WebSite, be_silent, file, head, md5, says, status

# Headers that today's sample server for ESPhttpUpdate requires, apart from the User-Agent.
INSISTED_ON = {
    f"x-esp8266-{name}"
    for name in ("sta-mac", "ap-mac", "free-space", "sketch-size", "sketch-md5", "chip-size")
} | {"x-esp8266-sdk-version"}


@pytest.fixture(scope="module")
def site():
    with WebSite() as site:
        yield site


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """Yield a board that all tests of the module share: none of them restarts it."""
    with PullingDevice(tmp_path_factory.mktemp("pull")) as device:
        yield device
        assert device.board.boots == 1
        assert device.board.violation == ""


# An update


def test_an_update_is_installed_and_told_in_arduinos_order(device, site):
    data = device.trial_image(9000)
    url = site.add("/order", file(data))
    closing = "lambda: print('event close')"
    start = device.command(f"ask(ota, 'update', {url!r}, close_connections={closing})")
    device.board.wait_for(f"^result {OK} 0", start=start)
    events = [line for line in device.board.lines[start:] if line.startswith("event")]
    size = len(data)
    assert events == [
        "event start", f"event progress 0 {size}", "event close", f"event progress {size} {size}",
        "event end",
    ]  # fmt: skip
    assert device.slot(device.record.trial)[:size] == data


def test_after_success_the_board_restarts_and_tries_what_it_got(tmp_path, site):
    with PullingDevice(tmp_path, reboot_on_success=True) as device:
        data = device.next_image()
        url = site.add("/restart", file(data))
        start = device.command(f"ota.pull.update({url!r})")
        device.confirmed(start)
        assert device.update(url).result == str(NO_UPDATES)


def test_the_option_not_to_restart_goes_before_the_setting(tmp_path, site):
    with PullingDevice(tmp_path, reboot_on_success=True) as device:
        data = device.next_image()
        url = site.add("/stay", file(data))
        device.installs(url, data, reboot_on_update=False)
        assert device.board.boots == 1
        start = device.boot()
        device.confirmed(start)


# The request


def test_the_request_is_that_of_esphttpupdate(device, site):
    url = site.add("/request", status("304 Not Modified"))
    assert device.update(url + "?id=7&x=%20", "1.4.0").result == str(NO_UPDATES)
    (request,) = site.asked("/request")
    assert (request.method, request.path, request.version) == (
        "GET", "/request?id=7&x=%20", "HTTP/1.0",
    )  # fmt: skip
    headers = request.headers
    chip = device.board.control[control.CHIP_ID]
    size = device.record.a.size_bytes
    assert headers["host"] == "{}:{}".format(*site.address)
    assert headers["user-agent"] == "ESP8266-http-Update"
    assert headers["connection"] == "close"
    assert headers["x-esp8266-chip-id"] == str(chip)
    assert headers["x-esp8266-sta-mac"] == f"5C:CF:7F:{mac_tail(chip)}"
    assert headers["x-esp8266-ap-mac"] == f"5E:CF:7F:{mac_tail(chip)}"
    assert headers["x-esp8266-free-space"] == str(IMAGE_LIMIT_BYTES)
    assert headers["x-esp8266-sketch-size"] == str(size)
    assert headers["x-esp8266-sketch-md5"] == md5(device.slot("a")[:size])
    assert headers["x-esp8266-chip-size"] == str(4 << 20)
    assert headers["x-esp8266-sdk-version"].startswith("2.")
    assert headers["x-esp8266-mode"] == "sketch"
    assert headers["x-esp8266-version"] == "1.4.0"
    assert not INSISTED_ON - set(headers)
    assert not {"authorization", "range", "if-none-match", "if-modified-since"} & set(headers)


def mac_tail(chip: int) -> str:
    return ":".join(f"{byte:02X}" for byte in chip.to_bytes(3, "big"))


def test_without_a_version_of_the_callers_none_is_sent(device, site):
    url = site.add("/no-version", status("304 Not Modified"))
    device.update(url)
    assert "x-esp8266-version" not in site.asked("/no-version")[0].headers


def test_what_the_board_is_and_how_it_is_goes_with_each_request(device, site):
    url = site.add("/report", status("304 Not Modified"))
    device.update(url)
    headers = site.asked("/report")[0].headers
    assert (headers["x-mpota-name"], headers["x-mpota-sequence"]) == ("small", "1")
    assert 1000 < int(headers["x-mpota-heap"]) < 56 << 10
    assert int(headers["x-mpota-uptime"]) < 600
    assert headers["x-mpota-rssi"] == "-60"
    assert "x-mpota-data" not in headers


def test_a_user_and_a_password_or_their_base64_are_sent(device, site):
    url = site.add("/basic", status("401 Unauthorized"))
    ready = base64.b64encode(b"al:se:cret").decode()
    device.fails(url, -108, user="al", password="se:cret")
    device.fails(url, -108, authorization=ready)
    device.fails(url, -108)
    sent = [request.headers.get("authorization") for request in site.asked("/basic")]
    assert sent == [f"Basic {ready}", f"Basic {ready}", None]


def test_further_headers_are_sent_and_none_can_split_the_request(device, site):
    url = site.add("/headers", status("304 Not Modified"))
    device.update(url, headers=("x-place: cellar", "x-shelf: 3"))
    headers = site.asked("/headers")[0].headers
    assert (headers["x-place"], headers["x-shelf"]) == ("cellar", "3")
    device.fails(url, -7, headers=("x-place: cellar\r\nx-evil: 1",))
    assert len(site.asked("/headers")) == 1


def test_headers_that_are_too_long_are_told(device, site):
    url = site.add("/too-long-headers", status("304 Not Modified"))
    for length in (400, 900):
        device.command(f"setattr(ota.pull, 'headers', ('x-place: ' + {length} * 'y',))")
        outcome = device.update(url)
        assert outcome.error == (0 if length == 400 else -7), outcome
    device.command("delattr(ota.pull, 'headers')")
    assert "too long" in outcome.text
    assert len(site.asked("/too-long-headers")) == 1


def test_the_request_comes_in_one_piece(device, site):
    pieces = []

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        answering = threading.Thread(target=lambda: pieces.append(answer_once(listener)))
        answering.start()
        assert device.update(url, "1.4.0").result == str(NO_UPDATES)
        answering.join()
    assert pieces[0].endswith(b"\r\n\r\n")


def answer_once(listener):
    """Answer a request by what its first packet has; return that."""
    connection, _ = listener.accept()
    with connection:
        piece = connection.recv(65536)
        connection.sendall(head("304 Not Modified"))
    return piece


@pytest.mark.parametrize(
    "url",
    ["ftp://x/", "127.0.0.1/update", "http://", "http:///x", "http://127.0.0.1:0/",
     "http://127.0.0.1:x/", "http://a@127.0.0.1/", "http://127.0.0.1/a b",
     "http://127.0.0.1/a\r\nx: y", "http://127.0.0.1/\xe4"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_in_words(device, url):
    assert "address" in device.fails(url, -1).text


def test_an_address_is_taken_apart_and_one_relative_to_it_is_put_together(tmp_path):
    script = """
import sys
sys.path.insert(0, "/rom/lib")
from ota.pull.request import join, split
for url in ("http://a.b", "http://a.b:80/x?y#z", "https://a.b:443/?q=/", "https://a.b:8443?q=1"):
    print("split", split(url))
at = "http://a.b:81/c/d?e=http://f/"
for location in ("https://g/h?i=1", "//g/h", "/h?i=//j", "h", "?i", "g/h://i"):
    print("join", join(at, location))
print("join", join("http://a.b", "h"))
"""
    flash = tmp_path / "flash.img"
    create_flash(flash, {"/boot.py": script.encode()}, system=boards.simulated_rom())
    with Board(flash, ip=boards.own_ip()) as board:
        board.wait_for("^join http://a.b/h$")
        said = [line for line in board.lines if line.startswith(("split", "join"))]
    assert said == [
        "split (False, 'a.b', 80, '/')",
        "split (False, 'a.b', 80, '/x?y')",
        "split (True, 'a.b', 443, '/?q=/')",
        "split (True, 'a.b', 8443, '/?q=1')",
        "join https://g/h?i=1",
        "join http://g/h",
        "join http://a.b:81/h?i=//j",
        "join http://a.b:81/c/h",
        "join http://a.b:81/c/?i",
        "join http://a.b:81/c/g/h://i",
        "join http://a.b/h",
    ]


# Replies without an update


@pytest.mark.parametrize(
    ("line", "error", "text"),
    [("401 Unauthorized", -108, "Unauthorized (401)"), ("403 Forbidden", -103, "Forbidden (403)"),
     ("404 Not Found", -102, "File Not Found (404)"),
     ("500 Internal Server Error", -104, "Wrong HTTP Code: HTTP 500"),
     ("204 No Content", -104, "Wrong HTTP Code: HTTP 204"),
     ("206 Partial Content", -104, "Wrong HTTP Code: HTTP 206"),
     ("301 Moved Permanently", -104, "Wrong HTTP Code: HTTP 301"),
     ("416 Range Not Satisfiable", -104, "Wrong HTTP Code: HTTP 416")],
)  # fmt: skip
def test_a_status_is_an_error_of_arduinos_number_and_words(device, site, line, error, text):
    url = site.add("/status", status(line, x_MD5="0" * 32))
    outcome = device.fails(url, error)
    assert outcome.text.startswith(text)
    assert outcome.events == [f"pull error {error}"]


def test_304_is_no_failure(device, site):
    url = site.add("/304", status("304 Not Modified"))
    outcome = device.update(url)
    assert (outcome.result, outcome.error, outcome.events) == (str(NO_UPDATES), 0, [])


def test_a_version_is_asked_for_without_an_image(device, site):
    url = site.add("/version", status("200 OK", x_version="9.1", x_MD5="0" * 32))
    assert device.ask("available_version", url).result == "9.1"
    assert site.asked("/version")[0].headers["x-esp8266-mode"] == "version"
    outcome = device.ask("available_version", site.add("/version", status("200 OK")))
    assert (outcome.result, outcome.error) == ("", -109)


def test_an_image_of_files_is_asked_for_as_arduino_does(device, site):
    url = site.add("/fs", file(b"x" * 3000))
    outcome = device.ask("update_fs", url)
    assert site.asked("/fs")[0].headers["x-esp8266-mode"] == "spiffs"
    assert (outcome.error, outcome.text[:25]) == (46, "Update error: ERROR[46]: ")


def test_data_without_a_length_are_taken(device, site):
    image = build({"a.txt": b"a" * 3000}, "tar")
    for path, reply in (("/fs-chunks", chunked(image)), ("/fs-close", head() + image)):
        assert device.ask("update_fs", site.add(path, says(reply))).result == str(OK)


def test_an_update_that_another_question_breaks_off_is_told(device, site):
    whole = head(Content_Length=30_000) + device.trial_image(30_000)[:5000]

    def page(connection, request):
        connection.sendall(whole)
        be_silent(connection)

    url, other = site.add("/broken-off", page), site.add("/other", status("200 OK", x_version="3"))
    start = device.command(f"ota.pull.check({url!r})")
    device.board.wait_for("event start", start=start)
    outcome = device.ask("available_version", other)
    assert outcome.result == "3"
    assert [e for e in outcome.events if "error" in e] == ["error -5", "pull error -5"]


def test_a_server_that_is_not_there_is_told(device):
    outcome = device.fails("http://127.0.0.1:9/", -1)
    assert outcome.text.startswith("HTTP error: connection failed")
    assert "no address" in device.fails("http://no.such.name.invalid/", -1).text


@pytest.mark.parametrize(
    ("said", "error"),
    [(b"", -5), (b"HTTP/1.1 200 OK\r\nContent-Le", -5), (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", -7),
     (b"HTTP/1.1\r\n\r\n", -7), (b"HTTP/1.1 2x0 OK\r\n\r\n", -7), (b"HTTP/1.1 20 OK\r\n\r\n", -7),
     (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", -7), (b"x" * 3000, -7),
     (head(Content_Length=0), -101)],
)  # fmt: skip
def test_what_is_no_reply_is_told(device, site, said, error):
    outcome = device.fails(site.add("/no-reply", says(said)), error)
    assert outcome.events == [f"pull error {error}"]


def test_a_server_that_says_nothing_is_given_up_after_the_timeout(device, site):
    url = site.add("/silence", lambda connection, request: web_site.be_silent(connection))
    assert device.fails(url, -11, timeout_ms=300).text == "HTTP error: read Timeout"


# The content of an update


def test_too_large_an_image_is_refused_before_on_start(device, site):
    url = site.add("/large", says(head(Content_Length=IMAGE_LIMIT_BYTES + 1) + b"\xd2\xcd\x31"))
    assert device.fails(url, -100).events == ["pull error -100"]


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"<!DOCTYPE html><title>Log in</title>", -106), (b"\xe9" * 2000, -106), (b"M" * 2000, -106)],
    ids=["HTML", "sketch", "text"],
)
def test_what_is_no_image_is_refused_by_its_first_byte_as_in_arduino(device, site, body, error):
    idle = device.slot(device.idle)
    outcome = device.fails(site.add("/no-image", file(body, Content_Type="text/html")), error)
    assert outcome.text == "Verify Bin Header Failed"
    size = len(body)
    # on_start has been called already, although the image is refused afterwards.
    assert outcome.events == ["start", f"progress 0 {size}", "error -106", "pull error -106"]
    assert device.slot(device.idle) == idle


def test_the_md5_of_the_reply_counts(device, site):
    data = device.trial_image()
    device.installs(site.add("/md5", file(data, x_MD5=md5(data).upper())), data)
    outcome = device.fails(site.add("/md5", file(data, x_MD5=md5(b"other"))), 7)
    assert outcome.text.startswith("Update error: ERROR[7]: MD5 verification failed: expected: ")
    assert device.fails(site.add("/md5", file(data, x_MD5="abc")), -105).text == "Wrong MD5"


def test_the_callers_md5_goes_before_that_of_the_reply(device, site):
    data = device.trial_image()
    right, wrong = md5(data), md5(b"other")
    device.installs(site.add("/own-md5", file(data, x_MD5=wrong)), data, md5=right)
    device.fails(site.add("/own-md5", file(data, x_MD5=right)), 7, md5=wrong)


def test_what_the_updater_refuses_has_its_number(device, site):
    device.fails(site.add("/other-app", file(other_application())), 44)
    device.fails(site.add("/damaged", file(flipped(an_image(77, 5000)))), 37)


def other_application() -> bytes:
    return boards.application_image(
        {"app.py": boards.SMALL_APP.encode()}, name="other", version="1", sequence=90
    )


def flipped(data: bytes) -> bytes:
    data = bytearray(data)
    data[4000] ^= 1
    return bytes(data)


def test_an_on_start_that_raises_refuses_the_update(device, site):
    url = site.add("/veto", file(device.trial_image()))
    device.command("ota.on_start(lambda: 1 // 0)")
    try:
        assert "divi" in device.fails(url, 32).text
    finally:
        device.command('ota.on_start(lambda: print("event start"))')


def test_a_callback_may_call_handle_in_the_middle_of_an_update(device, site):
    device.command("ota.on_progress(lambda done, size: ota.handle())")
    try:
        data = device.trial_image(9000)
        device.installs(site.add("/handle", file(data)), data)
    finally:
        device.command("ota.on_progress(lambda done, size: None)")


def test_an_on_error_that_raises_changes_nothing_of_the_result(device, site):
    url = site.add("/raises", status("404 Not Found"))
    device.command("ota.pull.on_error(lambda code: 1 // 0)")
    start = device.command(f"ota.pull.update({url!r}), ota.pull.last_error")
    device.board.wait_for(r"gives \(0, -102\)", start=start)
    assert any("on_error raised" in line for line in device.board.lines[start:])


def test_the_led_is_on_while_a_piece_is_written(device, site):
    data = device.trial_image(20_000)
    url = site.add("/led", file(data))
    levels = "ota.on_progress(lambda *_: print('led', Pin(2).value()))"
    device.command("exec('from machine import Pin', globals())")
    start = device.command(levels)
    device.installs(url, data, led_pin=2, led_on=0)
    device.command("ota.on_progress(None)")
    # on_progress is called while a piece is written. Before the first piece is written, the pin
    # still has its old level.
    lines = [line for line in device.board.lines[start:] if line.startswith("led")]
    assert set(lines[2:]) == {"led 0"}
    assert "1" in device.board.wait_for("^gives (.)", start=device.command("Pin(2).value()"))[1]


# Bodies


def chunked(data: bytes, size: int = 1000, extension: bytes = b"") -> bytes:
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(c), extension, c) for c in chunks)
    return head(Transfer_Encoding="chunked") + body + b"0\r\n\r\n"


@pytest.mark.parametrize(("size", "extension"), [(1, b""), (700, b";x=y"), (4096, b"")])
def test_a_chunked_body_is_taken(device, site, size, extension):
    data = device.trial_image(3000)
    device.installs(site.add("/chunked", says(chunked(data, size, extension))), data)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [(lambda body: body[:-700], -5), (lambda body: body[:-5], -5),
     (lambda body: b"\r\nxyz\r\n".join(body.split(b"\r\n3e8\r\n", 3)), -9),
     (lambda body: body[: body.index(b"\r\n3e8\r\n", 1500)] + b"\r\n0\r\n\r\n", 37),
     (lambda body: head(Transfer_Encoding="chunked") + b"1" * 5000, -9),
     (lambda body: head(Transfer_Encoding="chunked") + b"0\r\n\r\n", -106)],
)  # fmt: skip
def test_a_bad_chunked_body_is_refused(device, site, spoil, error):
    body = spoil(chunked(device.trial_image(5000)))
    device.fails(site.add("/bad-chunks", says(body)), error)


def test_a_body_without_a_length_ends_with_the_connection(device, site):
    data = device.trial_image(3000)
    device.installs(site.add("/no-length", says(head() + data)), data)
    for at in (600, 1000, 2500, len(data) - 40, len(data) - 1):
        data = an_image(88, 3000)
        device.fails(site.add("/no-length", says(head() + data[:at])), 37)


def test_a_body_that_is_longer_than_any_image_is_refused(device, site):
    data = an_image(88, 95_000)
    url = site.add("/endless", says(head() + data + bytes(20_000)))
    device.fails(url, 37)


def test_a_length_that_is_too_short_or_too_long_is_told(device, site):
    data = an_image(88, 3000)
    device.fails(site.add("/short", says(head(Content_Length=len(data) - 8) + data)), 37)
    device.fails(site.add("/long", says(head(Content_Length=len(data) + 8) + data)), -5)


def test_a_slow_server_is_given_up_however_regularly_it_sends(device, site):
    data = an_image(88, 3000)

    def slow(connection, request):
        connection.sendall(head(Content_Length=len(data)) + data[:1000])
        for byte in data[1000:]:
            connection.sendall(bytes([byte]))
            if select.select([connection], [], [], 0.1)[0]:
                return

    outcome = device.fails(site.add("/slow", slow), -11, timeout_ms=300)
    assert outcome.text == "HTTP error: read Timeout"


# Heads


def test_many_and_long_headers_that_nobody_needs_are_passed_over(device, site):
    data = device.trial_image()
    headers = {f"x_{n}": "y" * 70 for n in range(40)} | {"Content_Security_Policy": "z" * 3500}
    device.installs(site.add("/headers", file(data, **headers)), data)


@pytest.mark.parametrize(
    "line", [b"x: " + b"y" * 10_000 + b"\r\n", b"x: y\r\n" * 3000, b"x" * 9000]
)
def test_a_head_without_measure_is_refused(device, site, line):
    url = site.add("/headers", says(head()[:-2] + line + b"\r\n"))
    device.fails(url, -7)


def test_an_endless_head_is_given_up(device, site):
    def endless(connection, request):
        connection.sendall(head()[:-2])
        while True:
            connection.sendall(b"x-header: value\r\n")

    device.fails(site.add("/endless-head", endless), -7)


# Redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_where_that_is_allowed(device, site, code):
    data = device.trial_image()
    site.add("/there", file(data))
    url = site.add("/here", status(f"{code} Elsewhere", Location="/there?a=b/../c&d=%2F"))
    device.fails(url, -104)
    for mode in ("strict", "force"):
        device.installs(url, data, redirects=mode)
    assert site.asked("/there")[0].path == "/there?a=b/../c&d=%2F"


def test_ten_redirects_are_followed_and_not_one_more(device, site):
    data = device.trial_image()
    for n in range(11):
        site.add(f"/hop{n}", status("302 Found", Location=f"hop{n + 1}"))
    site.add("/hop11", file(data))
    device.installs(site.url + "/hop1", data, redirects="strict")
    device.fails(site.url + "/hop0", -104, redirects="strict")
    loop = site.add("/loop", status("302 Found", Location="/loop"))
    device.fails(loop, -104, redirects="force")
    assert len(site.asked("/loop")) == 11


def test_an_address_of_1_kb_is_followed(device, site):
    data = device.trial_image()
    query = "sig=" + "a1" * 500 + "%3D&x=http://y/"
    site.add("/long-address", file(data))
    url = site.add(
        "/short-address", status("302 Found", Location=f"{site.url}/long-address?{query}")
    )
    device.installs(url, data, redirects="strict")
    assert site.asked("/long-address")[0].path.endswith(query)
    url = site.add("/too-long", status("302 Found", Location="/" + "x" * 2000))
    device.fails(url, -7, redirects="strict")


def test_a_password_stays_with_its_own_server(device, site):
    with WebSite("127.0.0.3") as other:
        there = other.add("/there", status("404 Not Found"))
        url = site.add("/away", status("302 Found", Location=there))
        options = {"user": "al", "password": "secret", "headers": ("x-key: secret",)}
        device.fails(url, -102, redirects="strict", **options)
        assert b"secret" not in other.asked("/there")[0].head
        assert not {"authorization", "x-key"} & set(other.asked("/there")[0].headers)
    assert {"authorization", "x-key"} < set(site.asked("/away")[0].headers)
