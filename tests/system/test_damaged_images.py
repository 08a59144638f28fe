"""Every single damage to an image, from its first bit to its last byte."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from device import Device
from raw_host import PASSWORD

BOARDS, SAMPLE = 8, 24
# The board may find any of these errors first: 10 not an image, 35 release was rejected before, 36
# older than the floor, 37 damaged, 38 bad MANIFEST, 41 for another board, 43 sequence is too far
# above the floor, 44 for another application.
CODES = (10, 35, 36, 37, 38, 41, 43, 44)


def every_damage(image):
    """Yield (name, image) for each damage to *image*.

    Every bit up to the end of MANIFEST is flipped, then one bit of every 32 bytes behind it; and
    the image is cut to every length.
    """
    manifest_end = image.index(b"\nmpy 6.3\n") + 9
    flips = [(at, bit) for at in range(manifest_end) for bit in range(8)]
    flips += [(at, at // 32 % 8) for at in range(manifest_end, len(image), 32)]
    for at, bit in flips:
        changed = bytearray(image)
        changed[at] ^= 1 << bit
        yield f"bit {bit} of byte {at} flipped", bytes(changed)
    for size in range(1, len(image)):
        yield f"cut to {size} bytes", image[:size]


@pytest.mark.campaign
def test_no_damage_to_an_image_goes_unnoticed(tmp_path, campaign, record_property):
    def run(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        # The board has a password, because a board without one makes a pause after some failures.
        with Device(folder, password=PASSWORD) as device, device.unharmed():
            cases = campaign.sample("damage", every_damage(device.image()), SAMPLE)[number::BOARDS]
            for name, data in cases:
                try:
                    device.refuses(data, *CODES)
                except BaseException as e:
                    e.add_note(f"damage: {name}")
                    raise
        return len(cases)

    with ThreadPoolExecutor(BOARDS) as pool:
        count = sum(pool.map(run, range(BOARDS)))
    record_property("damaged images refused", f"{count}/{count}")
