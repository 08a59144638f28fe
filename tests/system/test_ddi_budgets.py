"""What boards that ask hawkBit take of heap and flash, beside those that ask a server: printed, and
bounded by bench/budgets.py.
"""

import boards
import budgets
import measure
import measure_pull
import pytest
from device import APP
from filling import leaving
from hawkbit import HawkBit
from openssl_command import test_key
from pulling import filler
from signing import SignedDevice, key_file
from web_site import WebSite

# The server answers this late, so that the board has to wait for each answer.
_DELAY_S = 0.05


def kb(bytes_here):
    return bytes_here * budgets.SCALE / 1024


@pytest.fixture
def server():
    with WebSite() as site:
        yield HawkBit(site, "bench")


def heap(folder, server):
    """Measure what a board that asks hawkBit takes, as measure_pull.heap does."""
    server.delay_s = _DELAY_S
    settings = {"ddi_url": server.url, "ddi_id": "bench", "step_ms": 0, "confirm_s": 3600}
    with measure.board_with(folder, "pull", **settings) as board:
        idle = int(board.wait_for(r"^idle (\d+)")[1])
        asked = int(board.wait_for(r"^asked (\d+)")[1])
        server.deploy(measure.image_of("quick", 2, measure.IMAGE_BYTES))
        peak = int(board.wait_for(r"^peak (\d+)")[1])
    return measure_pull.PullHeap(idle, asked - idle, peak - idle)


def test_the_heap_of_a_board_that_asks_hawkbit(tmp_path, server, record_property):
    pull, ddi = measure_pull.heap(tmp_path), heap(tmp_path, server)
    idle, question, peak = (kb(d - p) for d, p in zip(ddi, pull, strict=True))
    record_property("heap, scaled, hawkBit's over pull's, idle", f"{idle:.2f} KB")
    record_property("heap, scaled, hawkBit's over pull's, a question", f"{question:.1f} KB")
    record_property("heap, scaled, hawkBit's over pull's, an update", f"{peak:.1f} KB")
    assert idle <= budgets.DDI_IDLE_KB
    assert max(question, peak) <= budgets.DDI_OVER_PULL_KB


# This much free heap is enough to ask the server. It is by far not enough for an update that must
# be signed with a long key.
_LEFT = boards.chip_kb(11)


def test_an_update_that_finds_too_little_heap_goes_on_after_a_restart(tmp_path, server):
    key = test_key("4096")
    listening = "while ota.arduino.socket is None:"
    app = leaving(_LEFT)
    assert listening in app
    app = app.replace(listening, "while ota.pull.result is None or ota.pull.session:")
    settings = {"ddi_url": server.url, "ddi_id": "bench", "update_interval_s": 1}
    with SignedDevice(tmp_path, app, keys=key_file(key), key=key, **settings) as device:
        device.board.wait_for("pull: no update", start=device.line("^leaves"))
        start = device.said
        action = server.deploy(device.next_image(APP, {"data.bin": filler(30_000)}))
        device.confirmed(start)
        assert server.closed(action).details == "confirmed: 2"
        alone = "boot: the services run alone, for one update"
        assert sum(alone in line for line in device.board.lines[start:]) == 1
        assert device.board.violation == ""
