"""Many updates, one after the other: each takes as much heap as the first."""

import pytest
from device import APP, COMMANDED_APP, Device

pytestmark = pytest.mark.campaign

UPDATES, SAMPLE = 50, 6
# The heap in use varies this much, with the numbers that are held in it and with what the previous
# call has left there.
TOLERANCE_BYTES = 384
# The interpreter's table of names grows in steps. With this many names, it has made its step in
# every boot, so that the figures can be compared.
NAMES = """
class Names:
    pass

for n in range(80):
    setattr(Names, "name%d" % n, n)
"""
PLAIN_APP = NAMES + COMMANDED_APP
ASYNC_APP = (
    PLAIN_APP.replace("import network", "import asyncio, network")
    .replace("def main", "async def main")
    .replace(
        "        ota.handle()\n        try:", "        await asyncio.sleep_ms(5)\n        try:"
    )
)


def in_use(device, start):
    """Return how much heap is in use when the release that began at line *start* is idle."""
    # The timer of the trial stops at its next tick. This waits until it has stopped.
    device.command("time.sleep_ms(700)", start)
    start = device.command("[__import__('gc').collect(), __import__('gc').mem_alloc()]", start)
    return int(device.board.wait_for(r"gives \[\w+, (\d+)\]", start=start)[1])


def constant(figures):
    """Tell whether figures are the same all along, but for what is in tolerance."""
    half = len(figures) // 2
    return abs(min(figures[half:]) - min(figures[:half])) <= TOLERANCE_BYTES


@pytest.mark.parametrize("app", [PLAIN_APP, ASYNC_APP], ids=["plain", "async"])
def test_many_updates_take_the_same_heap_and_the_same_flash(tmp_path, campaign, app):
    count = len(campaign.sample("updates", range(UPDATES), SAMPLE))
    heap, programmed, erases, files = [], [], [], set()
    with Device(tmp_path, app) as device:
        for _ in range(count):
            board = device.board
            before = board.programmed_bytes, board.erases
            start = device.said
            device.update(device.next_image(files={"data.bin": bytes(20_000)}))
            programmed.append(board.programmed_bytes - before[0])
            erases.append(board.erases - before[1])
            files.add(frozenset(device.files()))
            heap.append(in_use(device, start))
        ordinary = in_use(device, device.boot())
        assert board.violation == ""
    # How much littlefs writes in addition to the image varies.
    assert max(programmed) - min(programmed) <= 2 * 4096, programmed
    assert max(erases) - min(erases) <= 4, erases
    assert len(files) == 1, files
    assert constant(heap), heap
    assert min(heap) - ordinary <= TOLERANCE_BYTES, (heap, ordinary)


def test_many_updates_without_a_restart_between_them_take_the_same_heap(tmp_path, campaign):
    count = len(campaign.sample("updates", range(UPDATES), SAMPLE))
    with Device(tmp_path, COMMANDED_APP, reboot_on_success=False) as device:
        heap = []
        for _ in range(count):
            start = device.said
            device.upload(device.next_image(APP))
            device.board.wait_for("update ended", start=start)
            heap.append(in_use(device, 0))
        # The first two updates do not count, because the interpreter's tables grow during them.
        assert constant(heap[2:]), heap
        start = device.boot()
        device.confirmed(start)
