"""Files that are not images, damaged images and hostile images are refused, each with its error."""

import gzip
import hashlib
import random
import struct

import boards
import hostile_romfs
import pytest
from device import REFUSED, Device
from handmade import manifest_text, tar_of_mpota_1
from hostile_romfs import file, filesystem, folder, with_footer
from mpota.board.flash import IMAGE_LIMIT_BYTES, read_slot
from mpota.sim.firmware import stand_in_firmware
from raw_host import PASSWORD, RawHost

pytestmark = pytest.mark.parallel

NO_SPACE, NO_IMAGE, DAMAGED, BAD_MANIFEST, BAD_ROMFS = 4, 10, 37, 38, 39
FOOTER_BYTES = 40
SEED = 8266


def guarded(folder):
    """Return a board with a password: without one, it pauses after three failed transfers."""
    return Device(folder, password=PASSWORD)


def refuses_each(device, images, code, words=""):
    """See every one of *images*, name to bytes, refused with *code* and *words*."""
    for name, data in images.items():
        try:
            assert words in str(device.refuses(data, code)), name
        except BaseException as e:
            e.add_note(f"image: {name}")
            raise


# No image at all


def sketch():
    """Return the beginning of an Arduino sketch: the boot loader, which is loaded to 0x4010F000."""
    head = struct.pack("<BBBBIII", 0xE9, 1, 2, 0x40, 0x4010F480, 0x4010F000, 3000)
    return head + bytes(5000)


def no_images(image):
    """Return files of other kinds, each with the words that the board has for it."""
    pack = "send what 'mpota pack' makes"
    return {
        "a tar": (tar_of_mpota_1(), "a tar; data are sent by 'mpota upload -s'"),
        "firmware": (stand_in_firmware()[:50_000], "firmware; without a boot loader"),
        "a gzip of firmware": (gzip.compress(stand_in_firmware()[:50_000]), "firmware; without"),
        "an Arduino sketch": (sketch(), "an Arduino sketch; this board runs"),
        "an image for an ESP32": (
            b"\xe9\x05\x02\x20\x5c\x12\x08\x40" + bytes(2000),
            "for an ESP32",
        ),
        "a gzip of something else": (gzip.compress(bytes(3000)), pack),
        "HTML": (b"<!DOCTYPE html><title>404</title>", pack),
        "source": (b"def main(ota):\n    pass\n" * 100, pack),
        "bytecode": (b"M\x06\x00\x1f" + bytes(2000), pack),
        "littlefs": (b"\1\0\0\0\xf0\x0f\xff\xf7littlefs" + bytes(2000), "a littlefs; data"),
        "zip": (b"PK\3\4" + bytes(2000), pack),
        "zeros": (bytes(2000), pack),
        "blank flash": (b"\xff" * 2000, pack),
        "one byte": (b"x", pack),
        "an image without its first byte": (image[1:], pack),
        "an image without an end to its length": (image[:3] + b"\x80" * 9 + image[3:], pack),
    }


def test_a_file_that_is_no_image_is_refused_by_its_beginning_and_costs_no_slot(tmp_path):
    with guarded(tmp_path) as device:
        device.update()
        with device.unharmed():
            before = device.slot(device.idle)
            for name, (data, words) in no_images(device.image()).items():
                refuses_each(device, {name: data}, NO_IMAGE, words)
            assert device.slot(device.idle) == before
            assert read_slot(device.board.flash, device.idle).accepted


# MANIFEST


def bad_manifests(n):
    """Return texts of a MANIFEST that are no good; *n* is a good sequence."""
    return {
        "empty": b"",
        "one newline": b"\n",
        "first line alone": b"mpota 2\n",
        "the version before of the format": manifest_text(n, first=b"mpota 1"),
        "the next version of the format": manifest_text(n, first=b"mpota 3"),
        "first line with more behind": manifest_text(n, first=b"mpota 2 "),
        "first line missing": manifest_text(n, first=None),
        "no name": manifest_text(n, name=None),
        "no version": manifest_text(n, version=None),
        "no sequence": manifest_text(n, sequence=None),
        "two names": manifest_text(n, more=b"name other"),
        "two sequences": manifest_text(n, more=b"sequence %d" % (n + 1)),
        "two boards": manifest_text(n, more=b"board esp8266"),
        "name without a value": manifest_text(n, name=b"name"),
        "name with an empty value": manifest_text(n, name=b"name "),
        "name with two values": manifest_text(n, name=b"name a b"),
        "name of 33 characters": manifest_text(n, name=b"name " + b"x" * 33),
        "sequence 0": manifest_text(n, sequence=b"sequence 0"),
        "sequence -1": manifest_text(n, sequence=b"sequence -1"),
        "sequence 2**30": manifest_text(n, sequence=b"sequence %d" % 2**30),
        "sequence of 200 digits": manifest_text(n, sequence=b"sequence " + b"9" * 100),
        "sequence in hex": manifest_text(n, sequence=b"sequence 0x%x" % n),
        "empty line in the middle": manifest_text(n, board=b"board esp8266\n"),
        "empty line at the end": manifest_text(n) + b"\n",
        "no final newline": manifest_text(n)[:-1],
        "carriage returns": manifest_text(n).replace(b"\n", b"\r\n"),
        "escape sequence": manifest_text(n, name=b"name \x1b[2J"),
        "tab": manifest_text(n, name=b"name\tsmall"),
        "UTF-8": manifest_text(n, name="name gärtner".encode()),
        "no UTF-8": manifest_text(n, name=b"name \xff\xfe"),
        "line of 129 bytes": manifest_text(n, more=b"x" * 128),
        "larger than 512 bytes": manifest_text(n, **{f"more{i}": b"x" * 99 for i in range(5)}),
    }


def test_an_image_whose_manifest_is_broken_or_missing_is_refused_and_costs_no_slot(tmp_path):
    app = file(b"app.mpy", b"not looked at")
    good = manifest_text(2)
    images = {
        name: with_footer(filesystem(file(b"MANIFEST", text), app))
        for name, text in bad_manifests(2).items()
    } | {
        "no file": with_footer(filesystem()),
        "not there": with_footer(filesystem(app)),
        "not the first file": with_footer(filesystem(app, file(b"MANIFEST", good))),
        "in a folder": with_footer(filesystem(folder(b"MANIFEST", file(b"MANIFEST", good)), app)),
        "in small letters": with_footer(filesystem(file(b"manifest", good), app)),
    }
    with guarded(tmp_path) as device:
        device.update()
        with device.unharmed():
            before = device.slot(device.idle)
            refuses_each(device, images, BAD_MANIFEST)
            assert device.slot(device.idle) == before


def test_the_board_says_which_line_of_a_manifest_is_wrong(device):
    with device.unharmed():
        text = manifest_text(device.sequence, version=b"version 1 2")
        data = with_footer(filesystem(file(b"MANIFEST", text)))
        refuses_each(device, {"two values": data}, BAD_MANIFEST, "Bad MANIFEST: line 3: version")


# Damaged images


def flipped(data, at, bit=0):
    """Return *data* with one bit changed."""
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def damaged_images(image):
    """Return damaged copies of *image* whose beginning is still good."""
    numbers = random.Random(SEED)
    footer_at = len(image) - FOOTER_BYTES
    content, footer = image[:footer_at], image[footer_at:]
    digest = hashlib.sha256(content).digest()
    return {
        "no footer": content,
        "no footer, as long as with one": content + bytes(FOOTER_BYTES),
        "only a footer": content[:400] + footer,
        "another magic": content + b"MPOG" + footer[4:],
        "a length too short": content + struct.pack("<4sI", b"MPOF", footer_at - 4) + digest,
        "a length too long": content + struct.pack("<4sI", b"MPOF", footer_at + 4) + digest,
        "another length, cut to it": with_footer(content[: footer_at - 400]),
        "the digest of all": content + footer[:8] + hashlib.sha256(image).digest(),
        "no digest": content + footer[:8] + bytes(32),
        "another version's footer": with_footer(content[:-4] + b"next")[:-FOOTER_BYTES] + footer,
        "four bytes behind the footer": image + b"more",
        "much behind the footer": image + bytes(600),
        "a trailer that lies about its length": image + struct.pack("<256xI", 255),
        **{f"bit {at % 8} of byte {at} flipped": flipped(image, at, at % 8)
           for at in sorted(numbers.sample(range(600, len(image)), 12)) + [-1, -32, -33, -40]},
        **{f"cut to {size} bytes": image[:size]
           for size in [*numbers.sample(range(600, len(image)), 6), footer_at, len(image) - 1]},
    }  # fmt: skip


def test_a_damaged_image_is_refused(tmp_path):
    with guarded(tmp_path) as device, device.unharmed():
        image = device.next_image(files={"data.bin": random.Random(SEED).randbytes(5000)})
        refuses_each(device, damaged_images(image), DAMAGED)
        device.sequence -= 1


def test_an_image_cut_off_within_its_manifest_is_refused(tmp_path):
    with guarded(tmp_path) as device, device.unharmed():
        image = device.image()
        assert image.index(b"\nmpy 6.3\n") > 60
        for size in (3, 4, 5, 6, 17, 20, 40, 60):
            device.refuses(image[:size], NO_IMAGE if size < 5 else BAD_MANIFEST)


# Images whose content is wrong and whose digest is right


def test_an_image_whose_records_lie_is_refused_and_never_mounted(tmp_path):
    # Each image has a correct digest. The tests in tests/unit try many more such images.
    numbers = random.Random(SEED)
    images = {}
    while len(images) < len(hostile_romfs.FAULTS):
        fault, image = hostile_romfs.hostile_image(numbers)
        images.setdefault(fault, image)
    with guarded(tmp_path) as device, device.unharmed():
        refuses_each(device, images, BAD_ROMFS, "Bad ROMFS: at byte ")
        assert not read_slot(device.board.flash, device.idle).accepted


def test_a_file_that_bears_a_name_of_another_system_is_refused(tmp_path):
    names = [b"../boot.py", b"/boot.py", b"a\\b", b"C:x", b".", b"..", b"", b"x" * 101, b"a b",
             "gärten".encode(), b"\0", b"a\n"]  # fmt: skip
    with guarded(tmp_path) as device, device.unharmed():
        manifest = file(b"MANIFEST", manifest_text(device.sequence))
        images = {repr(n): with_footer(filesystem(manifest, file(n, b"x"))) for n in names}
        refuses_each(device, images, BAD_ROMFS)


# Images that are too large


@pytest.mark.parametrize("size", [IMAGE_LIMIT_BYTES + 1, 300_000, 2**32, 10**20])
def test_an_image_larger_than_a_slot_is_refused_at_once_with_both_sizes(device, size):
    with device.unharmed(), RawHost(device.board.ip) as host:
        said = device.said
        host.invite(size)
        assert host.answer() == (
            f"ERR: ERROR[{NO_SPACE}]: Not Enough Space: image of {size} bytes, a slot takes "
            f"{IMAGE_LIMIT_BYTES}: put larger things into /data, and flash firmware over serial\n"
        )
        device.board.wait_for(REFUSED, start=said)


def test_the_largest_image_is_taken_and_runs(device):
    data = random.Random(SEED).randbytes(IMAGE_LIMIT_BYTES)
    excess = len(device.next_image(files={"data.bin": data})) - IMAGE_LIMIT_BYTES
    image = device.image(files={"data.bin": data[:-excess]})
    assert len(image) == IMAGE_LIMIT_BYTES
    device.update(image)
    device.takes_an_update()


def test_what_a_program_is_told_of_free_space_is_what_a_slot_takes(device):
    app = boards.SMALL_APP.replace("    print(", "    print('free:', ota.free_space())\n    print(")
    start = device.said
    device.update(device.next_image(app))
    device.board.wait_for(f"free: {IMAGE_LIMIT_BYTES}", start=start)
    device.takes_an_update()
