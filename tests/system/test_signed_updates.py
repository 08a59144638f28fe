"""A board with keys takes what was signed with one of them and nothing else, however it comes."""

import hashlib
import struct

import pytest
from device import APP, Device
from handmade import image_with, manifest_text
from openssl_command import test_key
from own_transport import send as send_to_application
from raw_host import RawHost
from signing import (
    FIRST,
    SECOND,
    SIGNED_HEAP,
    SignedDevice,
    flipped,
    key_file,
    signed,
    with_trailer,
)
from transports import board_for, each_transport, ready, updating

pytestmark = pytest.mark.parallel

FOOTER_BYTES, SIGNATURE_BYTES, TRAILER_BYTES = 40, 256, 260
STRANGER, THIRD = 1, 2  # numbers of keys that are new to the board
NOT_SIGNED, BELOW_FLOOR, DAMAGED, BAD_MANIFEST = 12, 36, 37, 38

# This application uses one Updater for all images, and does not restart.
REUSING_APP = updating("updater = kept[0] if kept else (kept.append(updater), updater)[1]").replace(
    "def take(", "kept = []\n\ndef take("
).replace("            reset()\n", "            ota.updater\n")  # fmt: skip
# This application makes the flash lose data: a bit of byte {at} is lost while the first block is
# verified.
SPOILING_APP = updating(
    end="""
        for step, _ in enumerate(updater.ending()):
            if step == 0:
                import esp
                at = 0xE7000 + {at} // 4 * 4
                word = bytearray(4)
                esp.flash_read(at, word)
                byte = word[{at} % 4]
                assert byte
                word[{at} % 4] = byte & byte - 1
                esp.flash_write(at, word)
""".strip()
)


# Images that must be refused


def unsigned_images(device):
    """Yield (name, image): releases after the one that runs, all whole, and all but signed."""
    folder = device.folder
    device.sequence += 1
    image = device.image(files={"data.bin": b"x" * 3000})
    device.sequence -= 1
    good = signed(folder, image)
    signature = good[-TRAILER_BYTES:-4]
    yield "unsigned", image
    yield "another key", signed(folder, image, STRANGER)
    yield "legacy", signed(folder, image, legacy=True)
    yield "another image's signature", with_trailer(image, signed(folder, image + b"\0")[-260:-4])
    yield (
        "the signature of the ROMFS",
        with_trailer(image, signed(folder, image[:-FOOTER_BYTES])[-TRAILER_BYTES:-4]),
    )
    # This release differs in one file from the one that was signed, and its footer is right.
    other = image_with(
        manifest_text(device.sequence + 1), {"app.py": b"def main(ota):\n    1 / 0\n"}
    )
    yield "another release with this signature", other + good[-TRAILER_BYTES:]
    for name, at in {"first": 0, "in the middle": 128, "last": 255}.items():
        yield f"signature, {name} byte", flipped(good, len(image) + at, at % 8)
    for at in range(4):
        yield f"length, byte {at}", flipped(good, at - 4)
    for n in (1, 2, 3, 4, 5, 100, 259, 260):
        yield f"cut by {n}", good[:-n]
    yield "a byte behind the trailer", good + b"\0"
    yield "a byte before the trailer", image + b"\0" + good[-TRAILER_BYTES:]
    yield "no length", image + signature
    yield "big-endian length", image + signature + struct.pack(">I", SIGNATURE_BYTES)
    for length in (0, 1, 127, 128, 252, 255, 257, 260, 384, 512, 513, len(image), 2**31, 2**32 - 1):
        yield f"length {length}", image + signature + struct.pack("<I", length)
    yield "shorter signature", with_trailer(image, signature[:-1])
    yield "longer signature", with_trailer(image, b"\0" + signature)
    yield "zeros for a signature", with_trailer(image, bytes(256))
    yield "one for a signature", with_trailer(image, bytes(255) + b"\1")


def damaged_images(device):
    """Yield (name, image): signed releases that were damaged afterwards."""
    device.sequence += 1
    good = device.image(files={"data.bin": b"x" * 3000})
    device.sequence -= 1
    footer_at, good = len(good) - FOOTER_BYTES, signed(device.folder, good)
    for name, at in {
        "header": 4, "manifest, version": good.index(b"\nversion") + 9,
        "manifest, sequence": good.index(b"\nsequence") + 10, "code": good.index(b"runs"),
        "data, first byte": good.index(b"xxx"), "data, in the middle": good.index(b"xxx") + 1500,
        "data, last byte": good.index(b"xxx") + 2999, "footer, magic": footer_at,
        "footer, length": footer_at + 4, "footer, digest": footer_at + 39,
    }.items():  # fmt: skip
        yield name, flipped(good, at, at % 8)
    yield "another trailer behind the trailer", good + good[-TRAILER_BYTES:]
    for n in (TRAILER_BYTES + 1, TRAILER_BYTES + FOOTER_BYTES, TRAILER_BYTES + 2000):
        yield f"cut by {n}", good[:-n]


@each_transport
def test_what_is_not_signed_by_a_key_of_the_board_is_refused(tmp_path, transport):
    device, send = board_for(transport, tmp_path)
    with device, device.unharmed():
        ready(device)
        record = device.files()["/.ota/record"]
        images = dict(unsigned_images(device))
        assert len(images) >= 40
        # Only one transport sends all of the images, and the others send every fourth one: the
        # checks do not depend on the transport.
        names = list(images) if transport == "application" else list(images)[::4]
        for name in names:
            code = send(device, images[name])
            assert code == NOT_SIGNED, (name, code)
            assert device.files()["/.ota/record"] == record, name


def test_a_signed_image_that_came_to_harm_is_refused(tmp_path):
    device, send = board_for("application", tmp_path)
    with device, device.unharmed():
        ready(device)
        record = device.files()["/.ota/record"]
        for name, data in damaged_images(device):
            code = send(device, data)
            assert code in (NOT_SIGNED, DAMAGED, BAD_MANIFEST), (name, code)
            assert device.files()["/.ota/record"] == record, name


@each_transport
@pytest.mark.parametrize("key", [FIRST, SECOND], ids=["first", "second"])
def test_a_signature_by_any_of_the_keys_is_good(tmp_path, transport, key):
    device, send = board_for(transport, tmp_path, key=key)
    with device:
        ready(device)
        device.app = APP
        start = device.said
        assert send(device, device.next_image()) == 0
        device.confirmed(start)
        assert device.board.violation == ""


@each_transport
def test_a_legacy_signature_is_taken_where_the_setting_allows_it(tmp_path, transport):
    device, send = board_for(transport, tmp_path, legacy_signatures=True)
    with device:
        ready(device)
        start = device.said
        device.sequence += 1
        assert send(device, signed(tmp_path, device.image(), STRANGER, legacy=True)) == NOT_SIGNED
        assert send(device, signed(tmp_path, device.image(), legacy=True)) == 0
        device.confirmed(start)


@each_transport
@pytest.mark.parametrize("keys", [b"", b"garbage", b"MPKY", key_file(FIRST)[:300]],
                         ids=["empty", "garbage", "no key", "cut off"])  # fmt: skip
def test_with_a_broken_key_file_nothing_is_taken(tmp_path, transport, keys):
    device, send = board_for(transport, tmp_path, keys=keys)
    with device:
        ready(device)
        record, boots = device.files()["/.ota/record"], device.board.boots
        assert send(device, device.next_image()) == NOT_SIGNED
        assert send(device, device.image()) == NOT_SIGNED
        assert device.files()["/.ota/record"] == record and device.board.boots == boots


def test_a_board_without_keys_takes_a_signed_image(device, tmp_path):
    device.update(signed(tmp_path, device.next_image()))
    device.takes_an_update()


@pytest.mark.parametrize("bits", ["1024", "3072", "4096"])
def test_a_key_of_another_length_is_good_in_the_heap_of_a_board(tmp_path, bits):
    key = test_key(bits)
    with SignedDevice(tmp_path, keys=key_file(key), key=key) as device:
        device.refuses(signed(tmp_path, device.image(), FIRST), NOT_SIGNED)
        for _ in range(3):
            device.takes_an_update()


def test_an_updater_that_is_used_again_asks_for_a_signature_again(tmp_path):
    with SignedDevice(tmp_path, REUSING_APP) as device:
        ready(device)
        record = device.files()["/.ota/record"]
        device.app = APP
        good = device.next_image()
        unsigned = device.image()
        for _ in range(3):
            assert send_to_application(device, unsigned) == NOT_SIGNED
        assert device.files()["/.ota/record"] == record
        # A good signature on an earlier image does not count for the next one.
        assert send_to_application(device, good) == 0
        assert send_to_application(device, unsigned) == NOT_SIGNED
        assert send_to_application(device, good[:-1]) == NOT_SIGNED
        start = device.said
        device.board.reset()
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("takes images", start=start)
        assert send_to_application(device, good) == 0
        start = device.said
        device.board.reset()
        device.confirmed(start)


@pytest.mark.parametrize(
    "at", [2000, -TRAILER_BYTES - 10, -200, -3], ids=["file", "footer", "signature", "length"]
)
def test_what_counts_is_what_is_read_back_from_flash(tmp_path, at):
    # The image that arrives is good: the board has no other reason to refuse it.
    data = {"data.bin": b"x" * 3000}
    device = SignedDevice(tmp_path)
    device.app = APP
    good = device.next_image(files=data)
    # The heap has room for two Updaters, since the application keeps one for its own updates.
    app = SPOILING_APP.replace("{at}", str(at % len(good)))
    device = SignedDevice(tmp_path, app, heap="72k")
    with device:
        ready(device)
        record, boots = device.files()["/.ota/record"], device.board.boots
        assert send_to_application(device, good) in (NOT_SIGNED, DAMAGED)
        assert device.files()["/.ota/record"] == record and device.board.boots == boots
        device.sequence, device.app = 2, APP
        start = device.said
        device.upload(good)
        device.confirmed(start)


def test_the_keys_that_a_program_gives_count_and_no_others(tmp_path):
    app = updating(f"updater.keys = {key_file(SECOND)!r}")
    for folder, device in (("none", Device), ("others", SignedDevice)):
        (tmp_path / folder).mkdir()
        with device(tmp_path / folder, app, heap=SIGNED_HEAP) as board:
            ready(board)
            board.sequence, board.app = 2, APP
            good = board.image()
            for data in (good, signed(tmp_path, good, STRANGER), signed(tmp_path, good, FIRST)):
                assert send_to_application(board, data) == NOT_SIGNED
            start = board.said
            assert send_to_application(board, signed(tmp_path, good, SECOND)) == 0
            board.confirmed(start)


def test_an_older_signed_release_is_refused(tmp_path):
    with SignedDevice(tmp_path) as device:
        first = device.next_image()
        device.update(first)
        second = device.next_image()
        device.update(second)
        with device.unharmed():
            device.refuses(first, BELOW_FLOOR)
        device.refuses(second, BELOW_FLOOR)


def test_a_signature_counts_and_the_md5_does_not(tmp_path):
    with SignedDevice(tmp_path) as device, RawHost(device.board.ip) as host:
        start = device.said
        data = device.next_image()
        host.invite(len(data), "0" * 32)
        assert host.answer() == "OK"
        host.accept()
        host.send(data)
        assert host.result() == "OK"
        device.confirmed(start)


def test_a_right_md5_is_no_signature(tmp_path):
    with SignedDevice(tmp_path) as device, device.unharmed(), RawHost(device.board.ip) as host:
        start = device.said
        data = device.image()
        host.invite(len(data), hashlib.md5(data).hexdigest())
        assert host.answer() == "OK"
        host.accept()
        host.send(data)
        assert host.result().startswith("ERROR[12]: Signature verification failed")
        device.board.wait_for("update failed, code 4", start=start)


# Keys that a release brings


def taken_back(device, start):
    device.board.wait_for("trial: taken back|not confirmed in 3 boots", start=start)
    device.board.wait_for(r"boot: slot \w$", start=start)
    device.board.wait_for("listens on port", start=start)


def last_start(device):
    """The number of the line that the running boot began with."""
    said = [i for i, line in enumerate(device.board.lines) if "listens on port" in line]
    return said[-1]


def test_a_lost_key_is_retired_by_a_release_that_is_signed_with_the_second(tmp_path):
    with SignedDevice(tmp_path) as device:
        device.update()
        old, new = device.keys, key_file(SECOND, THIRD)
        assert old == key_file(FIRST, SECOND) != new
        device.key = SECOND
        data = device.next_image(files={"ota.keys": new})
        assert device.keys == old
        start = device.said
        device.upload(data)
        device.confirmed(start)
        device.board.wait_for("the keys of this release are taken over", start=start)
        assert device.keys == new
        # Somebody who has found the first key cannot use it any more.
        record = device.files()["/.ota/record"]
        stolen = signed(tmp_path, device.image(), FIRST)
        device.refuses(stolen, NOT_SIGNED)
        assert device.files()["/.ota/record"] == record
        # Both of the new keys are accepted. The board keeps its keys when a release brings none.
        for key in (SECOND, THIRD):
            device.key = key
            device.takes_an_update()
        assert device.keys == new


@pytest.mark.parametrize(
    "app",
    ["def main(ota):\n    raise ValueError('no good')\n",
     APP.replace("    print(", "    ota.reject()\n    print(")],
    ids=["raises", "rejects itself"],
)  # fmt: skip
def test_a_release_that_is_taken_back_changes_no_keys(tmp_path, app):
    with SignedDevice(tmp_path) as device:
        start = device.said
        device.upload(device.next_image(app, files={"ota.keys": key_file(THIRD)}))
        taken_back(device, start)
        assert device.keys == key_file(FIRST, SECOND)
        device.board.wait_for("app 1 runs", start=start)
        device.takes_an_update()


def test_keys_change_when_the_release_is_confirmed_and_not_before(tmp_path):
    patient = APP.replace("    print(", "    ota.auto_confirm = False\n    print(").replace(
        "        ota.handle()\n",
        "        ota.handle()\n"
        "        if ota.trial and ota.healthy and time.ticks_ms() - begun > 1500:\n"
        "            print('old keys:', old)\n"
        "            ota.confirm()\n",
    ).replace(
        "    while True:",
        "    begun = time.ticks_ms()\n    old = len(open('/ota.keys').read())\n    while True:",
    )  # fmt: skip
    with SignedDevice(tmp_path) as device:
        old, new = device.keys, key_file(FIRST, SECOND, THIRD)
        start = device.said
        device.upload(device.next_image(patient, files={"ota.keys": new}))
        device.board.wait_for("app 2 runs", start=start)
        assert device.keys == old
        device.confirmed(start)
        assert device.board.wait_for(r"old keys: (\d+)", start=start)[1] == str(len(old))
        assert device.keys == new


@pytest.mark.parametrize(
    "broken", [b"", b"garbage", key_file(SECOND)[:-30]], ids=["empty", "garbage", "cut off"]
)
def test_a_release_with_broken_keys_is_taken_back(tmp_path, broken):
    with SignedDevice(tmp_path) as device:
        start = device.said
        device.upload(device.next_image(files={"ota.keys": broken}))
        device.board.wait_for("its keys are broken: ERROR.12.", start=start)
        device.board.wait_for("app 1 runs", start=start)
        assert device.keys == key_file(FIRST, SECOND)
        assert "/ota.keys.new" not in device.files()
        device.takes_an_update()


def test_the_first_keys_can_come_with_a_release(device, tmp_path):
    device.spoiled = True  # the board has keys from now on
    device.update(device.next_image(files={"ota.keys": key_file(FIRST)}))
    device.refuses(device.image(), NOT_SIGNED)
    device.update(signed(tmp_path, device.next_image()))
