"""Updates that are posted to the page: by curl, by scripts made for Arduino's server, and badly."""

import hashlib
import random
import socket
import struct
import time

import pytest
from device import APP
from mpota.arduino.outcomes import RefusedError
from raw_host import PASSWORD
from test_callbacks_and_gates import PLAIN, RECORDER, heard
from web_client import WebDevice, connect, form, hear, request, say

pytestmark = pytest.mark.parallel

FORM = "multipart/form-data; boundary=xyz"
SUCCESS = "Update Success! Rebooting..."


def saved(folder, data):
    """Save *data* for curl."""
    path = folder / "image.bin"
    path.write_bytes(data)
    return path


def is_installed(device, start, answer):
    """See that *answer* tells of success, and that the board then runs the next release."""
    assert (answer.status, SUCCESS in answer.text) == (200, True), answer
    device.confirmed(start)


def fails(device, answer, status, *words):
    """See that *answer* refuses, with *status* and *words*."""
    assert answer.status == status, answer
    assert answer.text.startswith("Update error: "), answer
    for word in words:
        assert word in answer.text, answer


def test_curl_updates_the_board_as_scripts_for_arduino_do(tmp_path):
    with WebDevice(tmp_path) as device:
        data = device.next_image(files={"data.bin": random.Random(1).randbytes(70_000)})
        start = device.said
        is_installed(device, start, device.curl("-F", f"image=@{saved(tmp_path, data)}"))
        # The answer is the page for a browser without JavaScript, which opens /update again later.
        start = device.said
        saved(tmp_path, device.next_image())
        answer = device.curl("-F", f"firmware=@{tmp_path}/image.bin", "-H", "Accept: text/html")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert 'http-equiv="refresh" content="15;URL=/update"' in answer.text
        is_installed(device, start, answer)
        # The body of the request is the image alone, and its digests are announced in the headers.
        start = device.said
        data = device.next_image()
        answer = device.curl(
            "--data-binary", f"@{saved(tmp_path, data)}",
            "-H", "Content-Type: application/octet-stream", "-H", "Accept: application/json",
            "-H", "X-SHA256: " + hashlib.sha256(data).hexdigest().upper(),
            "-H", "X-MD5: " + hashlib.md5(data).hexdigest(),
        )  # fmt: skip
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == {"ok": True, "text": SUCCESS}
        is_installed(device, start, answer)
        assert device.board.violation == ""


def test_a_client_that_asks_first_is_told_to_go_on_or_not(tmp_path):
    with WebDevice(tmp_path) as device, connect(device.board.ip) as connection:
        data = device.next_image()
        start = device.said
        head, body = request(device.board.ip, data, Expect="100-continue").split(data)[0], data
        connection.sendall(head)
        said = connection.recv(100)
        assert said == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        is_installed(device, start, hear(connection))
        with device.unharmed(), connect(device.board.ip) as other:
            head = request(device.board.ip, Expect="100-continue", Content_Length="300000")
            other.sendall(head)
            fails(device, hear(other), 413, "ERROR[4]", "image of 300000 bytes", "102144")


@pytest.mark.parametrize("rest", [
    {"preamble": b"This is a form.\r\n--xy\r\n"},
    {"epilogue": b"and that was it"},
    {"boundary": "-" * 69 + "x"},
    {"boundary": "a b'()+_,-./:=?"},
], ids=["preamble", "epilogue", "long boundary", "odd boundary"])  # fmt: skip
def test_a_form_is_taken_with_whatever_else_is_in_it(tmp_path, rest):
    with WebDevice(tmp_path) as device:
        data = device.next_image(files={"data.bin": b"\r\n--xyz" * 20 + b"\r\n"})
        data += b""
        kind = f'multipart/form-data; boundary="{rest.get("boundary", "other")}"'
        parts = (
            ("note", None, b"--other--"),
            ("filesystem", "", b""),
            ("image", "ä;name=.bin", data),
            ("go", None, b"Update"),
        )
        body = form(*parts, **{"boundary": "other"} | rest)
        start = device.said
        is_installed(device, start, device.post(body, Content_Type=kind))


def test_a_form_without_a_chosen_file_is_no_update_and_no_error(tmp_path):
    with WebDevice(tmp_path) as device, device.unharmed():
        for parts in ([("image", "", b"")], [("image", None, b"x")], []):
            answer = device.post(form(*parts), Content_Type=FORM)
            assert (answer.status, answer.headers["location"]) == (303, "/update"), parts
            assert answer.text == "no file was chosen\n"
            assert "Update error" not in answer.text
        answer = device.post(form(), Content_Type=FORM, Accept="application/json")
        assert answer.json == {"ok": False, "text": "no file was chosen"}


def test_what_is_no_good_image_is_refused_with_a_true_status(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD) as device, device.unharmed():
        good = device.image()
        sha256 = hashlib.sha256(good).hexdigest()
        for data, status, words in (
            (b"", 400, ["ERROR[5]"]),
            (b"#!/bin/sh\n" * 300, 422, ["ERROR[10]", "mpota pack"]),
            (b"\xe9\1\2\x40\x80\xf4\x10\x40" + bytes(5000), 422, ["ERROR[10]", "Arduino"]),
            (good[:-1], 422, ["ERROR[37]"]),
            (good[:-50] + b"x" + good[-49:], 422, ["ERROR[37]"]),
        ):
            fails(device, device.post(data), status, *words)
            fails(device, device.post(form(("a", "b", data)), Content_Type=FORM), status, *words)
        for headers, words in (
            ({"X_MD5": "0" * 32}, ["ERROR[7]", "0" * 32, hashlib.md5(good).hexdigest()]),
            ({"X_MD5": "0" * 31}, ["ERROR[7]", "not 32 digits"]),
            ({"X_MD5": "\xe4" * 32}, ["ERROR[7]", "not hex digits"]),
            ({"X_SHA256": "0" * 64}, ["ERROR[42]"]),
            ({"X_SHA256": sha256, "path": "?sha256=" + "0" * 64}, ["ERROR[42]"]),
            ({"path": "?md5=" + "0" * 32}, ["ERROR[7]"]),
            ({"X_SHA256": sha256[:-1] + "x"}, ["ERROR[42]", "not hex digits"]),
        ):
            fails(device, device.post(good, **headers), 422, *words)
        answer = device.post(bytes(102_145))
        fails(device, answer, 413, "image of 102145 bytes")
        answer = device.post(form(("a", "b", bytes(104_500))), Content_Type=FORM)
        fails(device, answer, 413, "bytes, a slot takes 102144")
        fails(device, device.post(form(("filesystem", "b", good)), Content_Type=FORM), 422, "[46]")
        two = form(("a", "a.bin", good), ("b", "b.bin", good))
        fails(device, device.post(two, Content_Type=FORM), 409, "one file at a time")
        for body, kind in (
            (form(("a", "b", good))[:-9], FORM),
            (form(("a", "b", good))[: len(good)], FORM),
            (form(("a", "b", good))[:40], FORM),
            (form(("a", "b", good)), "multipart/form-data; boundary=other"),
            (b"--xyz\r\nContent-Disposition: " + b"x" * 600, FORM),
        ):
            fails(device, device.post(body, Content_Type=kind), 422, "the form is cut off")
        for kind in ("multipart/form-data", "multipart/form-data; boundary=" + "x" * 71):
            answer = device.post(form(("a", "b", good)), Content_Type=kind)
            fails(device, answer, 400, "the form has no boundary")


def test_the_largest_image_is_taken_from_a_form_too(tmp_path):
    with WebDevice(tmp_path) as device:
        spare = 102_144 - len(device.next_image(files={"data.bin": bytes(100_000)}))
        data = device.image(files={"data.bin": bytes(100_000 + spare)})
        data = data if len(data) == 102_144 else device.image(
            files={"data.bin": bytes(100_000 + spare - (len(data) - 102_144))})  # fmt: skip
        assert 102_140 < len(data) <= 102_144
        start = device.said
        body = form(("image", "image.bin", data), ("go", None, b"Update"))
        is_installed(device, start, device.post(body, Content_Type=FORM))


def test_policy_is_asked_and_answers_in_words(tmp_path):
    app = APP.replace(
        "    print(",
        "    ota.gate = lambda: ota.settings.get('door')\n"
        "    def veto():\n        ota.settings['door'] or 1 / 0\n"
        "        if ota.settings['door'] == 2:\n            raise ValueError('the valve is open')\n"
        "    ota.on_start(veto)\n"
        "    ota.web.route('/door', open_door := lambda request:"
        " ota.settings.update(door=int(request.body)) or 'ok')\n    print(",
    )
    with WebDevice(tmp_path, app) as device:
        ip = device.board.ip
        data = device.next_image(app)
        fails(device, device.post(data), 403, "ERROR[33]")
        assert say(ip, request(ip, b"2", path="/door")).text == "ok"
        fails(device, device.post(data), 403, "ERROR[32]", "the valve is open")
        assert say(ip, request(ip, b"1", path="/door")).text == "ok"
        start = device.said
        is_installed(device, start, device.post(data))
        # The new application is confirmed, although its gate is closed.


def test_an_update_during_a_trial_is_refused(tmp_path):
    with WebDevice(tmp_path, confirm_s=3600) as device:
        start = device.said
        assert device.post(device.next_image()).status == 200
        device.board.wait_for("app 2 runs", start=start)
        device.board.wait_for("web: http", start=start)
        device.sequence += 1
        fails(device, device.post(device.image()), 409, "ERROR[34]")


@pytest.mark.parametrize("on", ["ota", "ota.web"])
def test_callbacks_tell_of_an_update_in_order(tmp_path, on):
    how = PLAIN.replace("{on}", on).replace("{who}", "told")
    with WebDevice(tmp_path, RECORDER.replace("{register}", how)) as device:
        start = device.said
        data = device.image(files={"data.bin": bytes(5000)})
        fails(device, device.post(data[:-1] + b"x"), 422, "ERROR[37]")
        device.board.wait_for("told update failed, code 4", start=start)
        told = heard(device, start, "told")
        assert told[0] == "start" and len([line for line in told if "progress" not in line]) == 2
        assert told[-2] == f"progress {len(data)} {len(data)}"
        start = device.said
        fails(device, device.post(b"no image" * 300), 422, "ERROR[10]")
        device.board.wait_for("told update failed, code 3", start=start)
        start = device.said
        fails(device, device.post(bytes(102_145)), 413, "ERROR[4]")
        assert heard(device, start, "told") == []
        start = device.said
        data = device.next_image()
        is_installed(device, start, device.post(data))
        told = heard(device, start, "told")
        assert (told[0], told[-2:]) == ("start", [f"progress {len(data)} {len(data)}", "end"])
        lines = device.board.lines[start:]
        assert lines.index("told end") < next(i for i, x in enumerate(lines) if "restart" in x)


# This application closes the page in the middle of the first update, from a callback of the update
# or outside of it.
CLOSING = """
import time

def main(ota):
    done = []
    ota.on_start(lambda: print("told start"))
    ota.on_progress(lambda at, of: at and done.append(1) or {within})
    ota.on_error(lambda code: print("told error", code))
    ota.on_end(lambda: print("told end"))
    print("app {version} runs")
    while not done:
        ota.handle()
    ota.web.end()
    ota.on_progress(None)
    ota.web.begin()
    while True:
        ota.handle()
        time.sleep_ms(2)
"""


@pytest.mark.parametrize("within", ["None", "ota.web.end()"], ids=["beside", "in a callback"])
def test_an_application_that_closes_the_page_in_an_update_hears_that_it_failed(tmp_path, within):
    app = CLOSING.replace("{within}", within)
    # handle() makes one step at each call. Otherwise a fast machine would take all of the image in
    # the first call.
    with WebDevice(tmp_path, app, step_ms=0) as device:
        start = device.said
        with pytest.raises(OSError):
            device.post(device.image(files={"data.bin": bytes(90_000)}))
        device.board.wait_for("told error 3", start=start)
        assert heard(device, start, "told") == ["start", "error 3"]
        device.board.wait_for("web: http", start=start)
        start = device.said
        is_installed(device, start, device.post(device.next_image(APP)))


def test_without_a_restart_the_answer_says_so(tmp_path):
    with WebDevice(tmp_path, reboot_on_success=False) as device:
        start = device.said
        answer = device.post(device.next_image())
        assert answer.text == "Update Success! It is tried after the next restart.\n"
        device.board.wait_for("update ended", start=start)
        assert device.status()["version"] == "1"
        device.board.reset()
        device.confirmed(start)


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_a_connection_that_is_lost_frees_all_and_the_next_one_works_at_once(tmp_path, how):
    with WebDevice(tmp_path) as device:
        for at in (0, 1, 1536, 9000, 20_000):
            data = device.image(files={"data.bin": random.Random(2).randbytes(20_000)})
            with device.unharmed():
                start = device.said
                with connect(device.board.ip) as connection:
                    connection.sendall(request(device.board.ip, data)[: at - len(data)])
                    device.board.wait_for("announced", start=start)
                    if how == "RST":
                        linger = struct.pack("ii", 1, 0)
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                device.board.wait_for("update failed, code 3", start=start)
        start = device.said
        is_installed(device, start, device.post(device.next_image()))


def test_two_uploads_at_a_time_are_one_too_many(tmp_path):
    with WebDevice(tmp_path, heap="80k") as device, connect(device.board.ip) as connection:
        data = device.next_image(files={"data.bin": bytes(20_000)})
        start = device.said
        whole = request(device.board.ip, data)
        connection.sendall(whole[:4000])
        device.board.wait_for("announced", start=start)
        fails(device, device.post(data), 409, "ERROR[15]")
        # Another client sees the progress meanwhile.
        status = device.status()
        assert status["state"] == "updating" and status["size"] == len(data)
        assert 0 < status["done"] <= 4000
        connection.sendall(whole[4000:])
        is_installed(device, start, hear(connection))


def test_an_update_that_has_begun_is_not_disturbed_by_others_where_the_heap_is_short(tmp_path):
    with WebDevice(tmp_path, heap="56k") as device, connect(device.board.ip) as connection:
        data = device.next_image(files={"data.bin": bytes(20_000)})
        start = device.said
        whole = request(device.board.ip, data)
        connection.sendall(whole[:4000])
        device.board.wait_for("announced", start=start)
        for answer in (device.post(data), device.curl(), device.curl(path="/status")):
            assert answer.status in (200, 409, 503)
        connection.sendall(whole[4000:])
        is_installed(device, start, hear(connection))


def test_the_answer_reaches_a_client_that_sends_all_before_it_reads(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD) as device, device.unharmed():
        # The refusal comes after 1,536 bytes; the client still sends the rest.
        for _ in range(3):
            fails(device, device.post(b"no image" * 10_000), 422, "ERROR[10]")


def test_after_failed_transfers_a_board_without_a_password_makes_a_growing_pause(tmp_path):
    # Without this pause strangers could wear out the board's flash.
    with WebDevice(tmp_path) as device:
        damaged = device.image()[:-1] + b"x"
        for pause_s in (0, 0, 2, 4):
            deadline = time.monotonic() + 30
            while (answer := device.post(damaged)).status == 503 and time.monotonic() < deadline:
                time.sleep(0.2)
            fails(device, answer, 422, "ERROR[37]")
            if not pause_s:
                continue
            erases = device.board.erases
            answer = device.post(damaged)
            fails(device, answer, 503, "ERROR[33]", f"failed transfers, try again in {pause_s} s")
            assert answer.headers["retry-after"] == str(pause_s)
            assert device.board.erases == erases
            # The same pause applies to the listener.
            assert device.fails(damaged, RefusedError).code == 33
        start = device.said
        # curl waits for as long as the board has told it to.
        image = saved(tmp_path, device.next_image())
        answer = device.curl("--retry", "3", "-F", f"image=@{image}")
        is_installed(device, start, answer)
