"""What boards that ask a server take of heap, flash and network: printed, and bounded.

The budgets are those of bench/budgets.py, in KB on the chip.
"""

import threading

import boards
import budgets
import measure
import measure_pull
import pytest
from browsing import Browser
from device import APP, COMMANDED_APP, Device
from filling import leaving
from mpota.server.simple import ImageFolder, SimpleServer
from openssl_command import test_key
from pulling import filler
from signing import SignedDevice, key_file
from web_site import StrongFile, WebSite, status


def kb(bytes_here):
    return bytes_here * budgets.SCALE / 1024


@pytest.fixture
def site():
    with WebSite() as site:
        yield site


def test_the_heap_of_a_pull_is_little_more_than_that_of_an_upload(tmp_path, record_property):
    pull = measure_pull.heap(tmp_path)
    upload = measure.heap(tmp_path, auth="classic")
    record_property("heap of a pull, scaled", f"peak {kb(pull.peak):.1f} KB over idle")
    record_property("heap of a question, scaled", f"{kb(pull.question):.1f} KB over idle")
    assert kb(pull.peak - upload.peak) <= budgets.PULL_OVER_UPLOAD_KB
    assert kb(pull.question) <= budgets.QUESTION_KB


def test_a_pull_is_nearly_as_fast_as_a_loop_that_receives_and_writes(tmp_path, record_property):
    ours_s, theirs_s = measure_pull.seconds(tmp_path, 2)
    record_property("pull, of the speed of a loop, flash included", f"{theirs_s / ours_s:.1%}")
    assert theirs_s / ours_s >= budgets.THROUGHPUT / budgets.TOLERANCE


def test_an_idle_poll_is_short(tmp_path, record_property):
    sent, received = measure_pull.bytes_per_idle_poll(tmp_path)
    record_property("bytes of an idle poll", f"{sent} sent, {received} received")
    # The request and the answer fit into one packet each.
    assert sent <= 1460 and received <= 536


# This application asks the server as often as the test tells it. A separate call tells how much of
# the heap is in use, since a question leaves values on the stack, and these keep its objects.
ASKING_APP = (
    """
import gc

def ask(ota, times):
    for _ in range(times):
        ota.pull.check()
        while ota.pull.is_checking:
            ota.pull.handle()

def in_use():
    gc.collect()
    return gc.mem_alloc()
"""
    + COMMANDED_APP
)


def test_a_hundred_questions_leave_the_heap_where_it_was(tmp_path, site, record_property):
    url = site.add("/", status("304 Not Modified"))
    with Device(tmp_path, ASKING_APP, update_url=url, update_interval_s=3600) as device:

        def in_use(times):
            device.command(f"ask(ota, {times})")
            said = device.command("in_use()")
            return int(device.board.wait_for(r"gives (\d+)", start=said)[1])

        # The garbage collector takes values on the C stack for pointers, and so sometimes keeps an
        # object that is no longer needed. The least of several figures is what is in use.
        in_use(2)
        before = min(in_use(1) for _ in range(5))
        in_use(100)
        after = min(in_use(1) for _ in range(5))
        record_property("heap that 100 questions keep", f"{after - before} bytes")
        # If every question kept one block, that would be 3,200 bytes.
        assert abs(after - before) <= 512
        assert len(site.requests) == 112


# Little heap


ALONE = "boot: the services run alone, for one update"
# This heap is enough for a question to the server, but by far not for an update that must be signed
# with a long key.
_LEFT = boards.chip_kb(9)


# With 9 KB there is room for the question, and not even for a look at what the server has.
@pytest.mark.parametrize("left_kb", [9, 10])
def test_an_update_that_finds_too_little_heap_goes_on_after_a_restart(tmp_path, site, left_kb):
    with full_board(tmp_path, site, leaving(boards.chip_kb(left_kb))) as device:
        is_full(device)
        start = device.said
        data = device.next_image(APP, {"data.bin": filler(30_000)})
        site.add("/", StrongFile(data))
        device.confirmed(start)
        lines = device.board.lines[start:]
        assert sum(ALONE in line for line in lines) == 1
        # on_start made the equipment safe before the restart. No callback is called after it.
        assert lines.count("on_start") == 1 and "update ended" not in lines
        assert device.record.outcome == "confirmed: 2" and device.board.violation == ""


@pytest.mark.parametrize("left_kb", [5, 8])
def test_a_board_whose_heap_is_too_full_to_ask_asks_after_a_restart(tmp_path, site, left_kb):
    with full_board(tmp_path, site, leaving(boards.chip_kb(left_kb))) as device:
        start = device.line("^leaves")
        data = device.next_image(APP, {"data.bin": filler(30_000)})
        site.add("/", StrongFile(data))
        device.confirmed(start)
        lines = device.board.lines[start:]
        assert sum(ALONE in line for line in lines) == 1
        # That the heap is full for a moment does not cost the application a restart.
        before = lines[: next(n for n, line in enumerate(lines) if ALONE in line)]
        assert sum("pull: HTTP error: not enough ram" in line for line in before) == 2
        assert lines.count("on_start") == 1 and device.board.violation == ""


def test_a_release_that_leaves_less_than_a_question_needs_is_not_confirmed(tmp_path, site):
    settings = {"update_url": site.add("/", status("304 Not Modified")), "confirm_s": 1}
    with Device(tmp_path, APP, **settings) as device:
        start = device.said
        device.upload(device.next_image(leaving(boards.chip_kb(8.5))))
        device.board.wait_for("trial: not confirmed: the application leaves", start=start)


def full_board(folder, site, app=None, **settings):
    """Return a board with keys that polls; its application leaves little heap when it has begun."""
    site.add("/", status("304 Not Modified"))
    settings = {"update_url": site.url + "/", "update_interval_s": 1} | settings
    key = test_key("4096")
    # The application fills the heap only after its first question is over. Otherwise the memory
    # that the question holds would become free later.
    listening = "while ota.arduino.socket is None:"
    app = app or leaving(_LEFT)
    assert listening in app
    app = app.replace(listening, "while ota.pull.result is None or ota.pull.session:")
    return SignedDevice(folder, app, keys=key_file(key), key=key, **settings)


def is_full(device):
    """Wait until a question finds the heap as full as the application leaves it."""
    device.board.wait_for("pull: no update", start=device.line("^leaves"))


def test_an_update_that_fails_after_the_restart_is_told_and_counted(tmp_path, site):
    with full_board(tmp_path, site) as device:
        is_full(device)
        data = device.next_image(APP, {"data.bin": filler(30_000)})
        site.add("/", StrongFile(data[:20_000] + b"?" + data[20_001:]))
        alone = device.line(ALONE)
        device.board.wait_for("app 1 runs, outcome: failed: .*ERROR.37.", start=alone)
        files = device.files()
        assert files["/.ota/pull"][40] == 1  # the number of failures, with which the pause grows


def test_an_application_may_refuse_the_restart(tmp_path, site):
    app = leaving(_LEFT).replace(
        'ota.on_start(lambda: print("on_start"))', "ota.on_start(lambda: 1 // 0)"
    )
    with full_board(tmp_path, site, app) as device:
        is_full(device)
        site.add("/", StrongFile(boards.small_image("2", 2)))
        device.board.wait_for(r"pull: Update error: ERROR\[32\]")
        assert device.board.boots == 1


def test_where_the_setting_forbids_it_there_is_no_restart(tmp_path, site):
    with full_board(tmp_path, site, restart_for_update=False) as device:
        is_full(device)
        site.add("/", StrongFile(boards.small_image("2", 2)))
        device.board.wait_for(r"pull: Update error: ERROR\[14\]: Out of memory: \d+ of \d+ bytes")
        assert device.board.boots == 1


def test_the_logger_polls_and_updates_while_its_page_is_open(tmp_path, record_property):
    updates = 3
    images = tmp_path / "images"
    images.mkdir()
    (images / "logger.img").write_bytes(boards.logger_release(1))
    with SimpleServer(("127.0.0.1", 0), ImageFolder(images, print)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            settings = {
                "update_url": f"http://127.0.0.1:{server.server_port}/",
                "update_interval_s": 1,
                "confirm_s": 2,
            }
            board = boards.board_with(tmp_path, boards.logger_release(1), **settings)
            with board, Browser(board.ip, 8080) as browser:
                start = 0
                for sequence in range(2, 2 + updates):
                    board.wait_for("pull: no update", start=start)
                    browser.wait_for_pages(10)
                    start = len(board.lines)
                    (images / "logger.img").write_bytes(boards.logger_release(sequence))
                    board.wait_for("is confirmed", start=start)
            record_property("updates of the logger with its page open", f"{updates}/{updates}")
            assert board.violation == ""
        finally:
            server.shutdown()
            thread.join()
