"""Boards that ask by themselves: what they take, what they leave, when they ask again."""

import hashlib
import re
import struct
import threading
import time

import boards
import pytest
from device import APP, COMMANDED_APP, Device
from mpota.arduino.status import ask_status
from mpota.server.simple import ImageFolder, SimpleServer
from mpota.sim import Board, create_flash
from signing import SignedDevice
from web_site import StrongFile, WebSite, file, head, says, status

# An application that asks as often as possible.
OFTEN = {"update_interval_s": 1}
# An application that raises in its trial. The previous version then prints what the board tells it
# about this trial.
RAISING_APP = """
def main(ota):
    print("app {version} runs")
    raise ValueError("of no use")
"""
CALLS_APP = APP.replace(
    "    print(\"app", "    ota.on_start(lambda: print(\"equipment is safe\"))\n    print(\"app"
)  # fmt: skip


@pytest.fixture
def site():
    with WebSite() as site:
        yield site


@pytest.fixture
def shelf(tmp_path):
    """Yield a folder and the address of a simple server for it."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    exchanges = []
    with SimpleServer(("127.0.0.1", 0), ImageFolder(folder, print), exchanges.append) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/", exchanges
        server.shutdown()
        thread.join()


def polls(device, times=2):
    """Wait until the board has found *times* that there is nothing for it."""
    for _ in range(times):
        start = device.said
        device.board.wait_for("pull: no update", start=start)


# Which updates the board takes


def test_a_release_in_the_folder_is_taken_confirmed_and_reported(tmp_path, shelf):
    folder, url, exchanges = shelf
    with Device(tmp_path, update_url=url, **OFTEN) as device:
        (folder / "1.img").write_bytes(device.image())
        polls(device, 1)
        start = device.said
        (folder / "2.img").write_bytes(device.next_image())
        device.confirmed(start)
        device.board.wait_for("pull: no update", start=device.line("is confirmed", start))
    assert [exchange.reply.status for exchange in exchanges if exchange.sent] == [200]
    assert (exchanges[-1].runs, exchanges[-1].outcome) == ("small 2", "confirmed: 2")


def test_the_outcome_the_boots_and_the_state_of_the_board_are_reported(tmp_path, site):
    page = StrongFile(boards.small_image("2", 2))
    url = site.add("/", page)
    with Device(tmp_path, update_url=url, **OFTEN) as device:
        device.board.wait_for("is confirmed")
        page.data = b""  # its ETag stays, and the board knows this ETag
        polls(device, 1)
    first, last = site.requests[0].headers, site.requests[-1].headers
    assert (first["x-mpota-outcome"], first["x-mpota-boots"]) == ("", "0")
    assert (last["x-mpota-outcome"], last["x-mpota-boots"]) == ("confirmed: 2", "1")
    assert (last["x-mpota-sequence"], last["x-esp8266-version"]) == ("2", "2")
    assert last["x-esp8266-sketch-md5"] == hashlib.md5(boards.small_image("2", 2)).hexdigest()


def servers(data):
    """Yield pages for *data*, by what the server tells of the file."""
    yield "ETag", StrongFile(data)
    yield "date", file(data, Last_Modified="Wed, 25 Nov 2026 10:00:00 GMT")
    yield "nothing", file(data)
    yield "length unknown", says(head() + data)


@pytest.mark.parametrize("kind", ["ETag", "date", "nothing", "length unknown"])
def test_what_runs_is_not_installed_again_and_the_equipment_not_disturbed(tmp_path, site, kind):
    with Device(tmp_path, CALLS_APP, update_url=site.url + "/", **OFTEN) as device:
        data = device.image(files={"data.bin": bytes(20_000)})
        page = dict(servers(data))[kind]
        site.add("/", page)
        polls(device, 3)
        said = "\n".join(device.board.lines)
        assert "equipment" not in said and device.board.boots == 1
        headers = site.requests[-1].headers
        if kind == "ETag":
            assert headers["if-none-match"] == page.etag and page.sent == len(data)
        elif kind == "date":
            assert headers["if-modified-since"].startswith("Wed")


@pytest.mark.parametrize("kind", ["ETag", "nothing"])
def test_a_release_that_was_taken_back_is_reported_and_not_fetched_again(tmp_path, site, kind):
    with Device(tmp_path, CALLS_APP, update_url=site.url + "/", **OFTEN) as device:
        bad = device.next_image(RAISING_APP)
        page = dict(servers(bad))[kind]
        site.add("/", page)
        device.board.wait_for("app 2 runs")
        back = device.line("trial: taken back", device.line("app 2 runs"))
        device.board.wait_for("app 1 runs", start=back)
        polls(device, 3)
        assert device.board.boots == 3
        assert [line for line in device.board.lines if "equipment" in line] == ["equipment is safe"]
        if kind == "ETag":
            assert page.sent == len(bad)
        outcome = site.requests[-1].headers["x-mpota-outcome"]
        assert re.match("taken back: 2: raised ValueError: of no use", outcome), outcome
        # A newer release is taken.
        start = device.said
        good = device.next_image(APP)
        site.add("/", file(good))
        device.confirmed(start)


def test_an_outcome_with_line_feeds_in_it_is_one_header(tmp_path, site):
    raising = RAISING_APP.replace("of no use", "no\\r\\nx-evil: 1\\r\\n\\r\\n")
    with Device(tmp_path, update_url=site.url + "/", **OFTEN) as device:
        page = StrongFile(device.next_image(raising))
        site.add("/", page)
        device.board.wait_for("app 2 runs")
        polls(device, 2)
        headers = site.requests[-1].headers
        assert headers["x-mpota-outcome"].startswith("taken back: 2: raised ValueError: no??x-evil")
        assert "x-evil" not in headers and "x-mpota-rssi" in headers


@pytest.mark.parametrize("kind", ["ETag", "nothing"])
def test_a_release_that_waits_for_a_restart_is_not_fetched_again(tmp_path, site, kind):
    with Device(tmp_path, update_url=site.url + "/", reboot_on_success=False, **OFTEN) as device:
        data = device.next_image()
        page = dict(servers(data))[kind]
        site.add("/", page)
        device.board.wait_for("pull: updated")
        polls(device, 3)
        assert len([line for line in device.board.lines if "bytes announced" in line]) == 1
        assert device.record.trial == "b"
        device.confirmed(device.boot())


def test_a_server_that_knows_the_rejected_version_by_its_name_alone_does_no_harm(tmp_path, shelf):
    folder, url, exchanges = shelf
    with Device(tmp_path, update_url=url, **OFTEN) as device:
        (folder / "2.img").write_bytes(device.next_image(RAISING_APP))
        device.board.wait_for("app 2 runs")
        back = device.line("trial: taken back", device.line("app 2 runs"))
        device.board.wait_for("pull: no update", start=back)
        polls(device, 2)
    assert [exchange.reply.status for exchange in exchanges][-2:] == [304, 304]
    assert [exchange.sent > 0 for exchange in exchanges].count(True) == 1


def test_html_and_other_files_are_refused_without_disturbing_the_equipment(tmp_path, site):
    url = site.add("/", file(b"<html>Please log in"))
    with Device(tmp_path, CALLS_APP, update_url=url, **OFTEN) as device:
        device.board.wait_for("pull: Verify Bin Header Failed")
        assert "equipment is safe" not in device.board.lines
        assert "update failed, code -106" not in device.board.lines


# When the board asks


def test_failures_bring_a_pause_that_grows_and_a_success_ends_it(tmp_path, site):
    url = site.add("/", status("500 no"))
    with Device(tmp_path, COMMANDED_APP, update_url=url, **OFTEN) as device:

        def due():
            said = device.command("ota.pull.deadline - ota.uptime_s, ota.pull.failures")
            match = device.board.wait_for(r"gives \((-?\d+), (\d+)\)", start=said)
            return int(match[1]), int(match[2])

        device.board.wait_for("pull: Wrong HTTP Code: HTTP 500")
        device.command("setattr(ota.pull, 'deadline', None)")
        pauses = []
        for failures in (1, 2, 3, 4, 8, 16, 20):
            device.command(f"setattr(ota.pull, 'failures', {failures - 1})")
            start = device.said
            device.command("ota.pull.check()")
            device.board.wait_for("pull: Wrong", start=start)
            pauses.append(due())
        assert [failures for _, failures in pauses] == [1, 2, 3, 4, 8, 16, 20]
        for (pause_s, _), about_s in zip(pauses, [1, 2, 4, 8, 128, 4096, 4096], strict=True):
            assert 0.7 * about_s - 2 <= pause_s <= 1.2 * about_s + 1, pauses
        site.add("/", status("304 Not Modified"))
        device.command("ota.pull.check()")
        device.board.wait_for("pull: no update")
        assert due()[1] == 0 and due()[0] <= 1


def test_retry_after_is_respected(tmp_path, site):
    url = site.add("/", status("503 Busy", Retry_After=7000))
    with Device(tmp_path, COMMANDED_APP, update_url=url, **OFTEN) as device:
        device.board.wait_for("pull: Wrong HTTP Code: HTTP 503")
        said = device.command("ota.pull.deadline - ota.uptime_s")
        assert 6900 < int(device.board.wait_for(r"gives (\d+)", start=said)[1]) <= 7000
        for value in ("-5", "Wed, 25 Nov 2026 10:00:00 GMT", "9" * 30):
            site.add("/", status("503 Busy", Retry_After=value))
            start = device.said
            device.command("ota.pull.check()")
            device.board.wait_for("pull: Wrong", start=start)
        said = device.command("ota.pull.deadline - ota.uptime_s")
        assert int(device.board.wait_for(r"gives (\d+)", start=said)[1]) == 86400


def test_boards_ask_at_times_of_their_own(tmp_path, site):
    # The script plans the questions of 64 boards that start together, each with another number.
    script = """
import sys
sys.path.insert(0, "/rom/lib")
from ota import hal
from ota.pull import plan

class ota:
    settings = {"update_interval_s": 3600}
    uptime_s = 0

class service:
    own_url = "https://x/"
    failures = 0
    deadline = interval_s = None

service.ota = ota
for number in range(64):
    hal.chip_id = lambda: "c0ff%02x" % number
    plan.plan_first(service)
    first = service.deadline
    plan.plan(service, 0)
    print("plans", first, service.deadline)
print("done")
"""
    flash = tmp_path / "flash.img"
    create_flash(flash, {"/boot.py": script.encode()}, system=boards.simulated_rom())
    with Board(flash, ip=boards.own_ip()) as board:
        board.wait_for("^done")
        plans = [re.match(r"plans (\d+) (\d+)", line) for line in board.lines]
    firsts = [int(match[1]) for match in plans if match]
    nexts = [int(match[2]) for match in plans if match]
    assert len(firsts) == 64 and min(firsts) >= 0 and max(firsts) <= 60
    assert min(nexts) >= 3240 and max(nexts) <= 3960
    # In every quarter of the time some of the boards ask, and in no quarter more than half of them.
    for values, low, high in ((firsts, 0, 60), (nexts, 3240, 3960)):
        quarters = [0] * 4
        for value in values:
            quarters[min(3, 4 * (value - low) // (high - low))] += 1
        assert all(8 <= quarter <= 32 for quarter in quarters), quarters


def test_no_question_while_updates_are_not_allowed_nor_in_a_trial(tmp_path, site):
    app = COMMANDED_APP.replace('    print("app', '    ota.allow_for(0)\n    print("app', 1)
    url = site.add("/", status("304 Not Modified"))
    with Device(tmp_path, app, update_url=url, **OFTEN) as device:
        device.command("ota.pull.check()")
        device.board.wait_for("gives False")
        time.sleep(2.5)  # the board does not ask, so there is no event to wait for
        assert not site.requests
        device.command("ota.allow_for(60)")
        device.board.wait_for("pull: no update")


def test_in_a_trial_the_board_asks_when_it_is_confirmed(tmp_path, site):
    with Device(
        tmp_path, COMMANDED_APP, update_url=site.url + "/", confirm_s=3600, **OFTEN
    ) as device:
        data = device.next_image()
        site.add("/", StrongFile(data))
        device.board.wait_for("app 2 runs")
        start = device.line("takes commands", device.line("app 2 runs"))
        count = len(site.requests)
        device.command("ota.pull.check(), ota.pull.update('http://127.0.0.1:9/')", start=start)
        device.board.wait_for(r"gives \(False, 0\)", start=start)
        assert len(site.requests) == count
        device.command("ota.confirm()", start=start)
        device.board.wait_for("pull: no update", start=start)
        assert site.requests[-1].headers["x-mpota-outcome"] == "confirmed: 2"


def test_the_status_tells_of_the_last_question(tmp_path, site):
    url = site.add("/", status("304 Not Modified"))
    with Device(tmp_path, update_url=url, update_interval_s=3600) as device:
        assert ask_status(device.board.ip, 8266).last_check == ""
    with Device(tmp_path, update_url=url, **OFTEN) as device:
        polls(device, 1)
        assert re.fullmatch(r"\d s ago: no update", ask_status(device.board.ip, 8266).last_check)


def test_plain_http_without_a_key_is_warned_of_and_said_once(tmp_path, site):
    url = site.add("/", status("304 Not Modified"))
    warned = "plain http and no key"
    with Device(tmp_path, update_url=url, **OFTEN) as device:
        polls(device)
        assert len([line for line in device.board.lines if warned in line]) == 1
    (tmp_path / "signed").mkdir()
    with SignedDevice(tmp_path / "signed", update_url=url, **OFTEN) as device:
        polls(device, 1)
        assert not [line for line in device.board.lines if warned in line]


# Questions that the application asks for


def test_an_application_without_a_setting_asks_in_the_background(tmp_path, site):
    with Device(tmp_path, COMMANDED_APP) as device:
        device.command("ota.pull.check()")
        device.board.wait_for("gives False")
        data = device.next_image()
        start = device.said
        device.command(f"ota.pull.check({site.add('/', file(data))!r}), ota.pull.is_checking")
        device.board.wait_for(r"gives \(True, True\)", start=start)
        device.confirmed(start)


OWN_MAIN = """
from ota import OTA
from ota.pull import HTTPUpdate
ota = OTA()
first, second = ota.pull, HTTPUpdate(ota)
print("checks", first.deadline, second.check({url!r}))
while True:
    ota.handle()
"""


def test_a_program_may_ask_before_it_calls_begin(tmp_path, site):
    url = site.add("/", status("304 Not Modified"))
    device = Device(tmp_path, update_url="http://127.0.0.1:9/", update_interval_s=3600)
    main = OWN_MAIN.replace("{url!r}", repr(url)).encode()
    # A download has failed while the services ran alone. The pause after this failure goes on.
    state = failed_place("http://127.0.0.1:9/")
    files = {"/main.py": main, "/.ota/pull": state}
    boards.change_files(device.board.flash, lambda f: f.update(files))
    with device:
        deadline = int(device.board.wait_for(r"checks (\d+) True")[1])
        assert 0.9 * 4 * 30 - 1 <= deadline <= 1.1 * 4 * 30
        device.board.wait_for("pull: no update")


def failed_place(url):
    """Return the file /.ota/pull of a board whose services alone have failed three times."""
    body = struct.pack("<4s4s4s16sIIIB", b"MPL1", hashlib.sha256(url.encode()).digest()[:4],
                       hashlib.sha256().digest()[:4],
                       bytes(16), 0, 0, 0, 3)  # fmt: skip
    return body + hashlib.sha256(body).digest()[:8]


STEPPING_APP = (
    """
def steps(ota, url):
    count = 0
    ota.pull.check(url)
    while ota.pull.is_checking:
        count += ota.pull.handle()
    return count
"""
    + COMMANDED_APP
)


def test_a_long_head_and_chunks_of_a_byte_are_taken_in_steps(tmp_path, site):
    lines = {f"x_{n}": "y" * 70 for n in range(90)}
    data = boards.small_image("2", 2, {"data.bin": bytes(1000)})
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in data)
    site.add("/long-head", status("304 Not Modified", **lines))
    site.add("/chunks", says(head(Transfer_Encoding="chunked") + chunks))
    with Device(tmp_path, STEPPING_APP, step_ms=0, heap="72k") as device:

        def steps(path):
            start = device.command(f"steps(ota, {site.url + path!r})")
            return int(device.board.wait_for(r"gives (\d+)", start=start)[1])

        assert steps("/long-head") > 90 * 70 / 128
        device.board.wait_for("pull: no update")
        site.add("/chunks", says(head(Transfer_Encoding="chunked") + chunks[:3000]))
        assert steps("/chunks") > 400  # the body has 500 bytes, and some of them came with the head


def test_an_application_may_have_one_of_its_own(tmp_path, site):
    app = COMMANDED_APP.replace(
        "    print(\"app",
        "    from ota.pull import HTTPUpdate\n    ota.mine = HTTPUpdate(ota)\n    print(\"app", 1
    )  # fmt: skip
    with Device(tmp_path, app) as device:
        url = site.add("/", status("304 Not Modified"))
        device.command(f"ota.mine.check({url!r})")
        device.board.wait_for("pull: no update")
        device.command(f"ota.mine.update({url!r}) == ota.mine.NO_UPDATES")
        device.board.wait_for("gives True")


def test_a_listener_says_that_an_update_is_running_and_the_pull_goes_on(tmp_path, site):
    data = boards.small_image("2", 2, {"data.bin": bytes(40_000)})
    go_on = threading.Event()

    def halting(connection, request):
        connection.sendall(head(Content_Length=len(data)) + data[:20_000])
        go_on.wait(20)
        connection.sendall(data[20_000:])

    url = site.add("/", halting)
    with Device(tmp_path, update_url=url, **OFTEN) as device:
        device.board.wait_for("bytes announced")
        device.sequence = 3
        error = device.fails(device.image(), Exception)
        assert "running" in str(error) or "ERROR[15]" in str(error)
        go_on.set()
        device.sequence = 2
        device.confirmed(0)
