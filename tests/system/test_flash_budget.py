"""How much an update writes to flash, by the board's own count."""

import random

import pytest
from device import Device

IMAGE_BYTES = 300_000
MOST_PER_BYTE = 2.2
CONTENT = random.Random(1).randbytes(IMAGE_BYTES)
FILES = {
    "one large file": {"data.bin": CONTENT},
    "60 small files": {
        f"lib/m{i:02}.bin": CONTENT[i * 5000 : i * 5000 + 5000] for i in range(IMAGE_BYTES // 5000)
    },
}


@pytest.mark.parametrize("what", FILES)
def test_an_update_writes_at_most_2_2_times_its_size(tmp_path, what, record_property):
    with Device(tmp_path) as device:
        before = device.board.programmed_bytes
        data = device.next_image(files=FILES[what])
        assert len(data) > IMAGE_BYTES
        device.update(data)
        per_byte = (device.board.programmed_bytes - before) / len(data)
        record_property(f"flash bytes programmed per image byte, {what}", f"{per_byte:.2f}")
        assert per_byte <= MOST_PER_BYTE
        assert device.board.violation == ""
