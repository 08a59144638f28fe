"""Data that is no image, or a damaged one."""

import random

import pytest
from tars import END, file_line, header, image, manifest, member

pytestmark = pytest.mark.parallel

BAD_MAGIC, DAMAGED, BAD_MANIFEST, MISMATCH = 10, 37, 38, 40
APP = b"def main(ota):\n    print('bad')\n" + b"# filler\n" * 200
MANIFEST_BYTES = 1024  # with its header


def whole(device):
    """Give a good image of the next release, whose application is a bad one."""
    listed = [file_line("app.py", APP), file_line("lib.py", b"x" * 700)]
    text = manifest(device.sequence + 1, *listed)
    data = image(text, member("app.py", APP), member("lib.py", b"x" * 700))
    assert len(data) == MANIFEST_BYTES + 512 + 2048 + 512 + 1024 + len(END)
    return data


@pytest.mark.parametrize(
    "data",
    [b"hello world\n" * 100, b"\xe9" + bytes(2000), b"\x1f\x8b" + bytes(2000), bytes(2000),
     b"m" * 2000, b"PK\3\4" + bytes(2000), b"\xff" * 2000, b"x"],
    ids=["text", "firmware", "gzip", "zeros", "small m", "zip", "blank flash", "one byte"],
)  # fmt: skip
def test_what_is_no_image_is_refused_by_its_first_byte(device, data):
    with device.unharmed():
        device.refuses(data, BAD_MAGIC)


@pytest.mark.parametrize("size", [1, 2, 511, 512, 513, 1460, 1461, 20_000])
def test_random_bytes_that_begin_as_an_image_are_refused(device, size):
    with device.unharmed():
        device.refuses(b"M" + random.Random(size).randbytes(size - 1), DAMAGED)


@pytest.mark.parametrize(
    "size",
    [1, 100, 511, 512, 513, 1023, 1024, 1025, 1535, 1536, 1537, 3583, 3584, 4096, 4100, 4700, 5119,
     5120, 5121, 5631, 5632, 5633, 6143],
)  # fmt: skip
def test_an_image_cut_off_anywhere_is_refused(device, size):
    with device.unharmed():
        data = whole(device)
        assert size < len(data)
        # Within MANIFEST, it is the line that is cut off.
        device.refuses(data[:size], BAD_MANIFEST if 512 <= size < 512 + 280 else DAMAGED)


@pytest.mark.parametrize(
    "at", [0, 148, 257, 512, 600, 1024, 1100, 1200, 1280, 1540, 3000, 4100, 4700]
)
def test_a_flipped_bit_is_found(device, at):
    with device.unharmed():
        data = bytearray(whole(device))
        data[at] ^= 1
        device.refuses(bytes(data), BAD_MAGIC, DAMAGED, BAD_MANIFEST, MISMATCH)


@pytest.mark.parametrize(
    "size", [b"77777777777\0", b"\x80" + bytes(10) + b"\x05", b"-0000000001\0"]
)
def test_a_member_that_lies_about_its_size_is_refused(device, size):
    with device.unharmed():
        text = manifest(device.sequence + 1, file_line("app.py", APP))
        lying = header(b"app.py", 0, size_field=size)
        device.refuses(image(text, lying + APP + bytes(-len(APP) % 512)), DAMAGED, MISMATCH)


def test_a_tar_of_the_old_kind_is_refused(device):
    with device.unharmed():
        text = manifest(device.sequence + 1, file_line("app.py", APP))
        data = image(text, member("app.py", APP, magic=b"\0\0\0\0\0\0"))
        device.refuses(data, DAMAGED)


def test_an_end_of_one_block_is_no_end(device):
    with device.unharmed():
        data = whole(device)[: -len(END)]
        device.refuses(data + bytes(512) + b"x" * 512, DAMAGED)


def test_what_stands_behind_the_end_is_left_alone(device):
    # There, a signature has its place.
    device.update(device.next_image() + random.Random(1).randbytes(260))
