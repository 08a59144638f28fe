"""What the services take of the heap, idle and at the peak of an update: printed, and bounded.

The budgets are those of bench/budgets.py, in KB on the chip.
"""

import budgets
import measure
import measure_gzip
import pytest
from device import APP, COMMANDED_APP
from mpota.arduino.outcomes import RefusedError
from signing import SignedDevice


def kb(bytes_here):
    return bytes_here * budgets.SCALE / 1024


@pytest.mark.parametrize("what", budgets.UPLOADS)
def test_the_heap_of_an_update_is_bounded(tmp_path, record_property, what):
    arguments, budget_kb = budgets.UPLOADS[what]
    heap = measure.heap(tmp_path, **arguments)
    figures = f"idle {kb(heap.idle):.1f} KB, peak {kb(heap.peak):.1f} KB more"
    record_property(f"heap, scaled, {what}", figures)
    step_kb = budgets.NAMES_STEP_KB if "password" in arguments else 0
    assert kb(heap.idle) <= budgets.IDLE_KB * budgets.TOLERANCE + step_kb
    assert kb(heap.peak) <= budget_kb * budgets.TOLERANCE


def test_the_boots_after_an_update_have_the_heap_of_any_other(tmp_path, record_property):
    boots = measure.boot_heap(tmp_path)
    figures = f"{kb(boots.on_trial):.2f} KB on trial, {kb(boots.after):.2f} KB after it"
    record_property("heap, scaled, beyond a cold boot", figures)
    assert kb(boots.on_trial) <= budgets.TRIAL_KB * budgets.TOLERANCE
    assert kb(boots.after) <= budgets.LEFT_KB * budgets.TOLERANCE


def test_the_heap_of_the_mdns_responder_is_bounded(tmp_path, record_property):
    taken = kb(measure.mdns_heap(tmp_path))
    record_property("heap, scaled, mDNS idle", f"{taken:.2f} KB")
    assert taken <= budgets.MDNS_KB


def test_a_gzip_takes_the_heap_that_is_said_and_saves_what_is_said(tmp_path, record_property):
    ways = measure_gzip.ways(tmp_path)
    for name, way in ways.items():
        figures = f"{way.sent_bytes} bytes sent, {way.heap_bytes} bytes of heap on 64 bits"
        record_property(f"unpacking, {name}", figures)
    plain, foreign, ours = ways["plain"], ways["gzip"], ways["ours"]
    assert foreign.sent_bytes < 0.65 * plain.sent_bytes
    assert foreign.sent_bytes < ours.sent_bytes < 0.78 * plain.sent_bytes
    assert foreign.heap_bytes < 3500 and ours.heap_bytes < 5600


def test_a_large_image_takes_no_more_heap_than_a_small_one(tmp_path):
    small, large = (measure.heap(tmp_path, image_bytes=size).peak for size in (3000, 100_000))
    # The figure varies this much between runs, because the application does not measure at every
    # moment.
    assert large - small <= 2048


def test_what_an_update_has_loaded_is_unloaded_after_it(tmp_path):
    loaded = "sorted([m for m in __import__('sys').modules if m[:3] == 'ota'])"
    with SignedDevice(tmp_path, COMMANDED_APP, password="secret") as device:

        def modules():
            start = device.command(loaded)
            return device.board.wait_for("gives (.*)", start=start)[1]

        before = modules()
        assert "updater" not in before and "session" not in before
        start = device.said
        device.fails(device.image(APP), RefusedError)
        device.board.wait_for("update failed", start=start)
        assert modules() == before
