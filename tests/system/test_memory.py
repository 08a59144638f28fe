"""Large images and many failures in the heap of the board."""

import random

import boards
import pytest
from device import APP, COMMANDED_APP, Device
from mpota import arduino
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.image.directory import pack_directory
from raw_host import PASSWORD, RawHost

pytestmark = pytest.mark.parallel

GARDEN = pack_directory(boards.GARDEN / "1.0.0").data

# The heap in use may grow by this much, since some tables and some numbers grow once. If every
# failure kept one block, the heap in use would grow by 640 bytes.
TOLERANCE_BYTES = 512


def in_use(device):
    """Return how much of the heap is in use between two updates."""
    start = device.command("[__import__('gc').collect(), __import__('gc').mem_alloc()]")
    return int(device.board.wait_for(r"gives \[\w+, (\d+)\]", start=start)[1])


def test_an_image_as_large_as_a_slot_goes_through_the_heap_beside_the_example(tmp_path):
    board = boards.board_with(tmp_path, GARDEN, confirm_s=0.1)
    files = {
        "app.py": APP.replace("{version}", "2").encode(),
        "data.bin": random.Random(3).randbytes(IMAGE_LIMIT_BYTES - 1000),
    }
    data = boards.application_image(files, name="garden", version="2", sequence=2)
    with board:
        board.wait_for("listens on port")
        arduino.upload(data, board_ip=board.ip)
        board.wait_for("is confirmed")
        board.wait_for("app 2 runs")
        assert board.violation == ""


def test_an_image_of_1000_files_is_taken(device):
    files = {f"lib/f{i:03}.txt": b"%03d\n" % i for i in range(1000)}
    app = APP.replace("    print(", "    print(open('/app/lib/f999.txt').read())\n    print(")
    start = device.said
    device.update(device.next_image(app, files))
    device.board.wait_for("^999$", start=start)
    device.takes_an_update()


def refused_at_once(device, host, i):
    host.invite(0)
    assert "ERROR[5]" in host.authenticate(host.answer())


def refused_at_the_end(device, host, i):
    image = device.image(files={"data.bin": random.Random(i).randbytes(3000)})
    host.begin(image[:-1] + b"x")
    host.send(image[:-1] + b"x")
    assert "ERROR[37]" in host.result()


def reset(device, host, i):
    host.begin(device.image(files={"data.bin": bytes(3000)}))
    host.send(b"\xd2\xcd\x31" + bytes(1457))
    host.reset()


def wrong_datagrams(device, host, i):
    for _ in range(50):
        host.say(b"0 %d 1000 %s\n" % (host.port, b"x" * 32))


@pytest.mark.long
@pytest.mark.parametrize("how", [refused_at_once, refused_at_the_end, reset, wrong_datagrams])
def test_after_20_failures_as_much_heap_is_in_use_as_before(tmp_path, how):
    with Device(tmp_path, COMMANDED_APP, password=PASSWORD) as device:
        figures = []
        for i in range(21):
            start = device.said
            with RawHost(device.board.ip) as host:
                how(device, host, i)
                if how is not wrong_datagrams:
                    device.board.wait_for("update failed|refused:", start=start)
                figures.append(in_use(device))
        # The least of several figures counts, since the last call leaves more or less behind.
        assert min(figures[-5:]) - min(figures[:5]) <= TOLERANCE_BYTES, figures
        device.takes_an_update()
