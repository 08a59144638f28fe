"""An application that brings updates by a transport of its own, through the Updater."""

import hashlib

import pytest
from device import APP, Device
from own_transport import send, serving

pytestmark = pytest.mark.parallel

NO_SPACE, TIMEOUT, MD5_FAILED, NO_DATA, RUNNING, UNKNOWN_COMMAND = 4, 6, 7, 13, 15, 16
DAMAGED = 37
# This heap has room for an update by the listener beside the Updater that the application keeps.
HEAP = "64k"
BY_WRITING = """
    print("state", state(updater), ota.is_updating)
    updater.begin(size)
    print("state", state(updater), ota.is_updating)
    while updater.remaining:
        n = peer.readinto(updater.buffer[:min(updater.remaining, len(updater.buffer))])
        if not n:
            break
        assert updater.write(updater.buffer[:n]) == n
    print("state", state(updater), ota.is_updating)
    updater.end()
    print("state", state(updater), ota.is_updating)
"""
BY_STREAM = """
    updater.begin(size)
    peer.setblocking(False)
    assert updater.write_stream(peer) == size
    updater.end()
"""
IN_STEPS = """
    updater.begin(size)
    peer.setblocking(False)
    for _ in updater.writing_stream(peer):
        assert ota.is_updating
        ota.handle()
    for _ in updater.ending():
        ota.handle()
"""
EVEN_IF_REMAINING = """
    updater.begin(102144)
    updater.write_stream(peer)
    updater.end(True)
"""
WITH_MD5 = """
    updater.set_md5(peer.read(32).decode())
    updater.begin(size)
    updater.write_stream(peer)
    updater.end()
"""


@pytest.mark.parametrize(
    "take", [BY_WRITING, BY_STREAM, IN_STEPS, EVEN_IF_REMAINING],
    ids=["write", "write_stream", "in steps", "of unknown size"],
)  # fmt: skip
def test_an_application_brings_an_update_by_its_own_transport(tmp_path, take):
    with Device(tmp_path, serving(take), heap=HEAP) as device:
        device.board.wait_for("takes images")
        start = device.said
        data = device.next_image(APP, {"data.bin": bytes(20_000)})
        assert send(device, data) == 0
        device.confirmed(start)
        assert device.board.violation == ""
        lines = device.board.lines[start:]
        assert lines[lines.index("on_start") :].count("on_start") == 1
        progress = [line.split() for line in lines if line.startswith("progress ")]
        assert int(progress[-1][1]) == len(data)
        if take is BY_WRITING:
            size = len(data)
            assert [line for line in lines if line.startswith("state ")] == [
                "state (False, False, 0, 0, 0) False",
                f"state (True, False, 0, {size}, 0) True",
                f"state (True, True, {size}, 0, 0) True",
                f"state (False, False, {size}, 0, 0) False",
            ]


def test_what_is_wrong_is_told_and_the_application_goes_on(tmp_path):
    with Device(tmp_path, serving(BY_STREAM), heap=HEAP) as device:
        device.board.wait_for("takes images")
        with device.unharmed():
            device.app, own = APP, device.app
            data = device.image(own, {"data.bin": bytes(5000)})
            assert send(device, data, size=200_000) == NO_SPACE
            assert send(device, data[:-1] + b"x") == DAMAGED
            start = device.said
            assert send(device, data, size=len(data) - 1) == DAMAGED
            device.board.wait_for(r"refused: ERROR.37.: Image is truncated", start=start)
            device.board.wait_for(
                rf"state \(False, False, \d+, \d+, {DAMAGED}\) False", start=start
            )


def test_a_stream_that_gives_nothing_for_6_s_ends_the_update(tmp_path):
    with Device(tmp_path, serving(BY_STREAM), heap=HEAP, watchdog_ms=20_000) as device:
        device.board.wait_for("takes images")
        with device.unharmed():
            device.app, own = APP, device.app
            data = device.image(own, {"data.bin": bytes(5000)})
            assert send(device, data[:3000], size=len(data), shut=False) == TIMEOUT


def test_an_md5_that_an_application_was_told_is_compared(tmp_path):
    with Device(tmp_path, serving(WITH_MD5), heap=HEAP) as device:
        device.board.wait_for("takes images")
        data = device.next_image(APP)
        assert send(device, b"0" * 32 + data, size=len(data)) == MD5_FAILED
        start = device.said
        assert send(device, hashlib.md5(data).hexdigest().encode() + data, size=len(data)) == 0
        device.confirmed(start)


# This application misuses the Updater in every way, and prints the number of each error in turn.
MISUSING = """
    other = Updater(ota)
    steps = [
        lambda: updater.write(b"x"),
        lambda: updater.end(),
        lambda: updater.begin(0),
        lambda: updater.begin(1000, 7),
        lambda: updater.begin(1000, 1),
        lambda: [updater.begin(size), other.begin(size)],
        lambda: updater.begin(size),
        lambda: updater.end(),
        lambda: updater.begin(size),
        lambda: updater.write(bytes(size + 1)),
        lambda: updater.write(b"x"),
        lambda: [updater.begin(size), updater.end(True)],
        lambda: [updater.begin(size), updater.abort(6), updater.end()],
    ]
    codes = []
    for step in steps:
        try:
            step()
            codes.append(0)
        except OTAError as e:
            codes.append(e.code)
    updater.abort(0)
    print("codes", codes)
    raise OTAError(13)
"""


def test_an_updater_that_is_misused_says_so_and_takes_nothing(tmp_path):
    with Device(tmp_path, serving(MISUSING), heap=HEAP) as device:
        device.board.wait_for("takes images")
        with device.unharmed():
            device.app, own = APP, device.app
            assert send(device, device.image(own)) == NO_DATA
            expected = [NO_DATA, NO_DATA, 5, UNKNOWN_COMMAND, UNKNOWN_COMMAND, RUNNING, RUNNING,
                        NO_DATA, 0, NO_SPACE, NO_SPACE, NO_DATA, TIMEOUT]  # fmt: skip
            device.board.wait_for("codes .*")
            assert f"codes {expected}" in device.board.lines
