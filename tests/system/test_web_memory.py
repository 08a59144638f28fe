"""The update page beside an application that leaves little heap."""

import contextlib
import threading
from collections.abc import Iterator

import boards
import pytest
from device import APP
from filling import leaving
from raw_host import PASSWORD
from test_web_upload import is_installed, saved
from web_client import Answer, WebDevice, curl

pytestmark = pytest.mark.parallel

LOG_IN = ("--digest", "--user", f"mpota:{PASSWORD}")
ALONE = "boot: the services run alone, for one update"


@pytest.mark.parametrize("how", ["form", "raw"])
def test_beside_8_kb_the_page_is_shown_and_an_upload_goes_on_after_a_restart(tmp_path, how):
    # The services alone restart after an upload in any case: the application is not running.
    settings = {"password": PASSWORD, "confirm_s": 1, "reboot_on_success": how == "form"}
    with WebDevice(tmp_path, leaving(boards.chip_kb(8)), **settings) as device:
        device.board.wait_for("^leaves")
        answer = device.curl(*LOG_IN, "-H", "Accept-Encoding: gzip")
        assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
        image = saved(tmp_path, device.next_image(APP, {"data.bin": bytes(20_000)}))
        start = device.said
        body = {
            "form": ("-F", f"image=@{image}"),
            "raw": ("--data-binary", f"@{image}", "-H", "Content-Type: application/octet-stream"),
        }[how]
        # curl tries again by itself, after the time that the board tells it.
        is_installed(device, start, device.curl(*LOG_IN, "--retry", "5", *body))
        lines = device.board.lines[start:]
        assert sum(ALONE in line for line in lines) == 1
        # on_start made the equipment safe before the restart. No callback is called after it.
        assert lines.count("on_start") == 1 and "update ended" not in lines
        assert device.board.violation == ""


def test_a_client_that_closes_at_once_gets_its_restart_as_well(tmp_path):
    settings = {"password": PASSWORD, "confirm_s": 1}
    with WebDevice(tmp_path, leaving(boards.chip_kb(8)), **settings) as device:
        device.board.wait_for("^leaves")
        image = saved(tmp_path, device.next_image(APP, {"data.bin": bytes(90_000)}))
        start = device.said
        # curl waits to be told to go on, is told otherwise, and closes without sending the body.
        body = ("--data-binary", f"@{image}", "-H", "Expect: 100-continue")
        answer = device.curl(*LOG_IN, "--expect100-timeout", "30", *body)
        assert answer.status == 503 and "the board restarts to make room" in answer.text
        device.board.wait_for(ALONE, start=start)
        # The board waits for the upload; one that is refused ends that, whoever leaves early.
        device.board.wait_for("web: http", start=start)
        start = device.said
        too_large = ("-H", "Content-Length: 200000", *body)
        assert device.curl(*LOG_IN, "--expect100-timeout", "30", *too_large).status == 413
        device.board.wait_for("web: restart with the application", start=start)


def test_a_board_without_a_password_says_that_the_heap_is_too_full_and_goes_on(tmp_path):
    with WebDevice(tmp_path, leaving(boards.chip_kb(10)), confirm_s=3600) as device:
        device.board.wait_for("^leaves")
        with unchanged(device):
            answer = device.post(device.image(APP))
        assert answer.status == 503 and "ERROR[14]" in answer.text and "bytes free" in answer.text
        assert "retry-after" not in answer.headers


@contextlib.contextmanager
def unchanged(device) -> Iterator[None]:
    """See to it that the board does not restart, and that nothing is written."""
    operations = device.board.operations
    yield
    assert device.board.boots == 1 and device.board.operations == operations


def test_with_too_little_heap_for_any_request_clients_are_told_so_or_left(tmp_path):
    app = leaving(boards.chip_kb(5))
    with WebDevice(tmp_path, app, password=PASSWORD, confirm_s=3600) as device:
        device.board.wait_for("^leaves")
        answers = []
        with unchanged(device):
            for _ in range(10):
                # While one client reads its answer, there is not even memory to answer the next
                # one.
                with contextlib.suppress(AssertionError):
                    answers.append(device.curl(path="/status"))
        assert answers
        for answer in answers:
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        # Each line is logged only once.
        said = [line for line in device.board.lines if "no memory" in line]
        assert len(said) == len(set(said)) and "Traceback" not in "".join(device.board.lines)


class Looking:
    """Has the page of *device* open in a browser that asks as fast as it can."""

    def __init__(self, device: WebDevice) -> None:
        self.seen: list[int] = []
        self._url = device.url + "/status"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Looking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.02):
            with contextlib.suppress(AssertionError, ValueError):  # the board restarts
                self.seen.append(self._ask().status)

    def _ask(self) -> Answer:
        return curl(*LOG_IN, "--max-time", "5", self._url)


def test_a_page_that_stays_open_keeps_no_update_out_and_no_trial_from_its_end(tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD, heap="48k") as device, Looking(device) as page:
        for _ in range(3):
            device.update()
        assert device.board.violation == ""
    assert 200 in page.seen
