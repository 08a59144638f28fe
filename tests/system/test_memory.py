"""Large images and many failures in the heap of the board."""

import random

import boards
import pytest
from device import APP, Device
from mpota import arduino, image
from mpota.image.directory import pack_directory
from raw_host import RawHost

pytestmark = pytest.mark.parallel

GARDEN = pack_directory(boards.GARDEN / "1.0.0").data


# Says how much is in use whenever an upload has failed and its session is over.
METER = """
import gc, time

def main(ota):
    failures = []
    ota.on_error(failures.append)
    print("app {version} runs")
    while True:
        ota.handle()
        if failures and not ota.is_updating:
            failures.clear()
            gc.collect()
            print("heap in use:", gc.mem_alloc())
        time.sleep_ms(2)
"""
# For an integer or two more and what they leave between them; each failure would add as much.
TOLERANCE_BYTES = 256


def in_use(device, start):
    """Wait for the figure of the upload that was begun after line *start*."""
    return int(device.board.wait_for(r"heap in use: (\d+)", start=start)[1])


def test_an_image_of_300_kb_goes_through_the_heap_beside_the_example(tmp_path):
    board = boards.board_with(tmp_path, GARDEN, confirm_s=0.1)
    files = {
        "app.py": APP.replace("{version}", "2").encode(),
        "lib/data.bin": random.Random(3).randbytes(300_000),
    }
    data = image.build(name="garden", version="2", sequence=2, files=files)
    with board:
        board.wait_for("listens on port")
        arduino.upload(data, board_ip=board.ip)
        board.wait_for("is confirmed")
        board.wait_for("app 2 runs")
        assert board.violation == ""


def test_an_image_of_256_files_is_installed(tmp_path):
    with Device(tmp_path) as device:
        # With app.py, as many as an image may have.
        device.update(device.next_image(files={f"lib/f{i:03}.py": b"x = 1\n" for i in range(255)}))
        assert sum("/lib/f" in name for name in device.files()) == 255
        device.takes_an_update()


@pytest.mark.parametrize("how", ["refused", "reset", "not an image", "datagrams"])
def test_after_20_failures_as_much_heap_is_in_use_as_before(tmp_path, how):
    with Device(tmp_path, METER) as device:
        figures = []
        for i in range(21):
            start = device.said
            with RawHost(device.board.ip) as host:
                data = b"M" + random.Random(i).randbytes(3000)
                if how == "refused":
                    host.invite(0)
                    assert "ERROR[5]" in host.answer()
                elif how == "datagrams":
                    for _ in range(50):
                        host.say(b"0 %d 1000 %s\n" % (host.port, b"x" * 32))
                    host.invite(0)
                    assert "ERROR[5]" in host.answer()
                else:
                    host.begin(data)
                    host.send(data[:2000] if how == "reset" else data)
                    host.reset() if how == "reset" else host.result()
                figures.append(in_use(device, start))
        assert figures[-1] - min(figures) <= TOLERANCE_BYTES, figures
        device.takes_an_update()
