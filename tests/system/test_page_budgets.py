"""What the update page takes of heap and of the network: printed, and bounded.

The budgets are those of bench/budgets.py, in KB on the chip.
"""

import budgets
import measure_page


def kb(bytes_here):
    return bytes_here * budgets.SCALE / 1024


def test_the_page_takes_little_heap_when_idle_and_for_each_connection(tmp_path, record_property):
    heap = measure_page.heap(tmp_path)
    record_property(
        "heap of the page, scaled",
        f"{kb(heap.idle):.2f} KB idle, {kb(heap.connection):.2f} KB each connection, "
        f"{kb(heap.look):.1f} KB over idle to show it, {kb(heap.peak):.1f} KB in an upload",
    )
    assert kb(heap.idle) <= budgets.PAGE_IDLE_KB * budgets.TOLERANCE
    assert kb(heap.connection) <= budgets.PAGE_CONNECTION_KB * budgets.TOLERANCE


def test_an_upload_by_the_page_is_as_fast_as_one_to_the_listener(tmp_path, record_property):
    by_page, by_listener = measure_page.throughput(tmp_path, 3)
    ratio = by_page / by_listener
    record_property("upload by the page, of the speed of one to the listener", f"{ratio:.1f}")
    assert ratio >= budgets.PAGE_THROUGHPUT / budgets.TOLERANCE


def test_the_page_is_small(record_property):
    size = measure_page.page_bytes()
    record_property("the page, as it is sent", f"{size} bytes")
    assert size <= budgets.PAGE_BYTES
