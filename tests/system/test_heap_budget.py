"""What the services take of the heap, idle and at the peak of an update: printed, and bounded."""

import boards
import pytest
from device import APP, Device
from mpota.sim import Board, create_flash

# An application that notes the heap in use: the benchmark's.
IDLE_APP = (boards.ROOT / "bench" / "apps" / "idle.py").read_text()

# In bytes of this interpreter, whose objects are larger: the 16 KB that an update may take of the
# chip's 38 KiB are as much of 56 KiB. Idle, the chip has 6 KB; here the table of names, with 11
# bytes an entry, takes more.
PEAK_LIMIT_BYTES = 16 * 1024 * 56 // 38
IDLE_LIMIT_BYTES = 23 * 512


def in_use_without_services(folder):
    """Return what the application and the interpreter take alone, in bytes."""
    script = IDLE_APP + "\ngc.collect()\nprint('bare', gc.mem_alloc())\n"
    create_flash(folder / "bare.img", {"/main.py": script.encode()})
    with Board(folder / "bare.img", ip=boards.own_ip()) as board:
        return int(board.wait_for(r"^bare (\d+)")[1])


@pytest.mark.parametrize("image_bytes", [3_000, 300_000])
def test_the_heap_is_bounded_whatever_the_size_of_the_image(tmp_path, record_property, image_bytes):
    bare = in_use_without_services(tmp_path)
    # One step a call, so that the application sees every moment of the update.
    with Device(tmp_path, IDLE_APP, step_ms=0) as device:
        idle = int(device.board.wait_for(r"^idle (\d+)")[1])
        device.upload(device.next_image(APP, {"data.bin": bytes(image_bytes)}))
        peak = int(device.board.wait_for(r"^peak (\d+)")[1])
    record_property(
        f"heap in an update of {image_bytes} bytes",
        f"idle {idle - bare} bytes, peak {peak - idle} bytes more",
    )
    assert idle - bare <= IDLE_LIMIT_BYTES
    assert peak - idle <= PEAK_LIMIT_BYTES
