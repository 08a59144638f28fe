"""A board with keys takes what is signed and nothing else, of every kind and by every way.

The cases of one kind of image are in test_signed_updates.py.
"""

import gzip
from collections.abc import Callable
from pathlib import Path

import boards
import data_files
import pytest
from device import Device
from hawkbit import Asking, HawkBit
from mpota.image import delta
from mpota.image.compression import compress
from signing import FIRST, flipped, key_file, signed
from transports import board_for, each_transport, ready
from web_site import WebSite

pytestmark = pytest.mark.parallel

_STRANGER = 1  # the number of a key that the board does not know
# 12: the signature is missing or wrong. The other errors are found before the board checks a
# signature: 37 damaged, 38 bad MANIFEST, 47 bad data image, 10 and 46 not an image at all.
_REFUSALS = (12, 37, 10, 38, 46, 47)
_BALLAST = {"data.bin": bytes(range(256)) * 40}


def _release(device: Device) -> bytes:
    """Return the next release, not signed."""
    return Device.next_image(device, files=_BALLAST)


def _delta(device: Device) -> bytes:
    running = device.image()
    return delta.make(running, _release(device))


# For each kind: the function that makes its content, and whether the content is data.
KINDS: dict[str, tuple[Callable[[Device], bytes], bool]] = {
    "plain": (_release, False),
    "gzip": (lambda device: gzip.compress(_release(device), 9), False),
    "gzip of mpota": (lambda device: compress(_release(device)), False),
    "delta": (_delta, False),
    "tar": (lambda _: data_files.tar_image(), True),
    "gzip of a tar": (lambda _: gzip.compress(data_files.tar_image(), 9), True),
    "littlefs": (lambda _: data_files.images()["2.0-8192-mklittlefs"], True),
}


def _bad_images(folder: Path, content: bytes) -> dict[str, bytes]:
    """Return what must be refused, by a name: *content* as it is, and in ways signed badly."""
    good = signed(folder, content)
    return {
        "unsigned": content,
        "signed with another key": signed(folder, content, _STRANGER),
        "tampered with": flipped(good, len(content) // 2),
        "with a tampered signature": flipped(good, len(content) + 100),
        "with a truncated trailer": good[:-1],
        "without the trailer's length": good[:-4],
    }


@each_transport
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_signed_is_taken_and_nothing_else(tmp_path, transport, kind):
    make, is_data = KINDS[kind]
    # The heap is larger than usual, because this test is not about memory: each kind takes another
    # amount of heap in addition to the signature.
    device, send = board_for(transport, tmp_path, heap="96k")
    with device:
        ready(device)
        record = device.files()["/.ota/record"]
        content = make(device)
        for name, image in _bad_images(tmp_path, content).items():
            code = send(device, image, is_data)
            assert code in _REFUSALS, (name, code)
            assert device.files()["/.ota/record"] == record, name
        start = device.said
        assert send(device, signed(tmp_path, content), is_data) == 0
        device.board.wait_for("is confirmed", start=start)
        assert device.board.violation == ""


@pytest.mark.long
@pytest.mark.parametrize("kind", [kind for kind, (_, is_data) in KINDS.items() if not is_data])
def test_what_hawkbit_assigns_is_signed_or_a_failure(tmp_path, kind):
    with WebSite() as site:
        server = HawkBit(site, "valve-7")
        device = Asking(tmp_path, server, heap="96k")
        keys = {"/ota.keys": key_file(FIRST)}
        boards.change_files(device.board.flash, lambda files: files.update(keys))
        with device:
            record = device.files()["/.ota/record"]
            content = KINDS[kind][0](device)
            for name, image in _bad_images(tmp_path, content).items():
                end = server.closed(server.deploy(image))
                assert end.finished == "failure", (name, end)
                assert any(f"ERROR[{code}]" in end.details for code in _REFUSALS), (name, end)
                assert device.files()["/.ota/record"] == record, name
            assert server.closed(server.deploy(signed(tmp_path, content))).finished == "success"
            assert device.board.violation == ""
