"""A board with keys takes what is signed and nothing else, of every kind and by every way.

The cases of one kind of image are in test_signed_updates.py.
"""

import gzip
from collections.abc import Callable

import data_files
import pytest
from device import Device
from mpota.image import delta
from mpota.image.compression import compress
from signing import flipped, signed
from transports import board_for, each_transport, ready

pytestmark = pytest.mark.parallel

_STRANGER = 1  # a new key
# Not signed; damaged, an image or its digest, before a signature is looked at; no image at all.
_REFUSALS = (12, 37, 10, 38, 46, 47)
_BALLAST = {"data.bin": bytes(range(256)) * 40}


def _release(device: Device) -> bytes:
    """Return the next release, not signed."""
    return Device.next_image(device, files=_BALLAST)


def _delta(device: Device) -> bytes:
    running = device.image()
    return delta.make(running, _release(device))


# How each kind is made; whether it is data.
KINDS: dict[str, tuple[Callable[[Device], bytes], bool]] = {
    "plain": (_release, False),
    "gzip": (lambda device: gzip.compress(_release(device), 9), False),
    "gzip of mpota": (lambda device: compress(_release(device)), False),
    "delta": (_delta, False),
    "tar": (lambda _: data_files.tar_image(), True),
    "gzip of a tar": (lambda _: gzip.compress(data_files.tar_image(), 9), True),
    "littlefs": (lambda _: data_files.images()["2.0-8192-mklittlefs"], True),
}


@each_transport
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_signed_is_taken_and_nothing_else(tmp_path, transport, kind):
    make, is_data = KINDS[kind]
    # The heap is no concern here: each kind takes another part of it beside a signature.
    device, send = board_for(transport, tmp_path, heap="96k")
    with device:
        ready(device)
        record = device.files()["/.ota/record"]
        content = make(device)
        good = signed(tmp_path, content)
        for name, image in {
            "unsigned": content,
            "signed with another key": signed(tmp_path, content, _STRANGER),
            "tampered with": flipped(good, len(content) // 2),
            "with a tampered signature": flipped(good, len(content) + 100),
            "with a truncated trailer": good[:-1],
            "without the trailer's length": good[:-4],
        }.items():
            code = send(device, image, is_data)
            assert code in _REFUSALS, (name, code)
            assert device.files()["/.ota/record"] == record, name
        start = device.said
        assert send(device, good, is_data) == 0
        device.board.wait_for("is confirmed", start=start)
        assert device.board.violation == ""
