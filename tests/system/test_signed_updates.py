"""A board with keys takes what was signed with one of them and nothing else, however it comes."""

import hashlib
import socket
import struct

import pytest
from device import APP, FAILED
from mpota.arduino.outcomes import RefusedError
from openssl_command import test_key
from raw_host import RawHost
from signing import FIRST, SECOND, SignedDevice, key_file, signed, with_trailer

pytestmark = pytest.mark.parallel

SIGNATURE_BYTES, TRAILER_BYTES = 256, 260
STRANGER, THIRD = 1, 2  # new keys
READ_FAILED, NOT_SIGNED, BELOW_FLOOR, FILES_DIFFER = 3, 12, 36, 40
PASSWORD = "geheim"
APP_PORT = 7000

# Takes images by a protocol of its own, and drives the Updater itself.
UPDATING_APP = """
import machine, network, socket, time

def take(ota, peer):
    from ota import Callbacks
    from ota.updater import Updater
    updater = Updater(ota, Callbacks())
    peer.settimeout(10)
    try:
        updater.begin(int.from_bytes(peer.read(4), "little"))
        while updater.remaining:
            n = peer.readinto(updater.buffer[:min(updater.remaining, 1460)])
            updater.write(updater.buffer[:n])
        updater.end()
    except Exception as e:
        peer.write(b"%d" % e.code)
        stubborn(updater, e.code)
    else:
        peer.write(b"0")
        peer.close()
        machine.reset()
    peer.close()

def stubborn(updater, code):
    # What is refused is refused, whatever is called after it.
    for again in (updater.end, lambda: updater.end(True), lambda: updater.write(b"M"),
                  lambda: updater.abort(0), updater.end):
        try:
            again()
        except Exception as e:
            assert e.code == updater.error == code
    assert not updater.is_running

def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    print("app {version} runs")
    station = network.WLAN(network.WLAN.IF_STA)
    while not station.isconnected():
        ota.handle()
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", 7000))
    server.listen(1)
    server.settimeout(0)
    print("takes images")
    while True:
        ota.handle()
        try:
            peer = server.accept()[0]
        except OSError:
            time.sleep_ms(2)
            continue
        take(ota, peer)
"""

# The same with one Updater for all images, and without a restart.
REUSING_APP = UPDATING_APP.replace("def take(", "kept = []\n\ndef take(").replace(
    "    updater = Updater(ota, Callbacks())\n",
    "    if not kept:\n"
    "        kept.append(Updater(ota, Callbacks()))\n"
    "    updater = kept[0]\n",
).replace("        machine.reset()\n", "")  # fmt: skip
# The same with a flash that does not keep what it is given: byte {at} is changed before the end.
SPOILING_APP = UPDATING_APP.replace(
    "        updater.end()\n",
    "        updater.file.flush()\n"
    "        with open('/.ota/staging', 'r+b') as f:\n"
    "            f.seek({at})\n"
    "            byte = f.read(1)[0]\n"
    "            f.seek({at})\n"
    "            f.write(bytes([byte ^ 1]))\n"
    "        updater.end()\n",
)


# The transports: each gives the board's error number for an image, 0 if it was taken.


def by_espota(device, data, **options):
    start = device.said
    try:
        device.upload(data, **options)
    except RefusedError as error:
        device.board.wait_for(FAILED, start=start)
        return error.code
    return 0


def by_classic_handshake(device, data):
    return by_espota(device, data, auth="classic")


def by_strong_handshake(device, data):
    return by_espota(device, data, auth="strict")


def by_application(device, data):
    with socket.create_connection((device.board.ip, APP_PORT), timeout=20) as peer:
        peer.sendall(struct.pack("<I", len(data)) + data)
        said = b""
        while more := peer.recv(16):
            said += more
    return int(said)


TRANSPORTS = {
    "classic": (by_classic_handshake, {}),
    "SHA-256": (by_strong_handshake, {"password": PASSWORD, "auth": "strict"}),
    "application": (by_application, {"app": UPDATING_APP}),
}
each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


def board_for(transport, folder, **settings):
    """Give a board, switched off, and the function that sends it an image."""
    send, own = TRANSPORTS[transport]
    own = {name: value for name, value in own.items() if name != "app"}
    app = UPDATING_APP if send is by_application else APP
    return SignedDevice(folder, app, **own | settings), send


def ready(device):
    if device.app == UPDATING_APP:
        device.board.wait_for("takes images")


# Images that are no good


def flipped(data, at, bit=0):
    data = bytearray(data)
    data[at] ^= 1 << bit
    return bytes(data)


def bad_images(device):
    """Yield (name, image): all of the release after the one that runs, and all but signed."""
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
    # Changed anywhere
    manifest_at, app_at = 512, image.index(b"\nimport ")
    data_at = image.index(b"x" * 3000)
    for name, at in {
        "header, name": 3, "header, mode": 105, "header, checksum": 150, "header, unused": 505,
        "manifest, first line": manifest_at + 6, "manifest, version": image.index(b"\nversion") + 9,
        "manifest, sequence": image.index(b"\nsequence") + 10,
        "manifest, digest": image.index(b"\nfile") + 10,
        "manifest, padding": image.index(b"app.py\0") - 1,
        "payload, first byte": app_at, "payload, data": data_at + 1500,
        "payload, last byte": data_at + 2999, "payload, padding": data_at + 3001,
        "end blocks, first byte": len(image) - 1024, "end blocks, last byte": len(image) - 1,
        "signature, first byte": len(image), "signature, in the middle": len(image) + 128,
        "signature, last byte": len(image) + 255,
    }.items():  # fmt: skip
        yield name, flipped(good, at, at % 8)
    for at in range(4):
        yield f"length, byte {at}", flipped(good, at - 4)
    # Cut, and put together anew
    for n in (1, 2, 3, 4, 5, 100, 259, 260, 261):
        yield f"cut by {n}", good[:-n]
    yield "a byte behind the trailer", good + b"\0"
    yield "another trailer behind the trailer", good + good[-TRAILER_BYTES:]
    yield "a byte before the trailer", image + b"\0" + good[-TRAILER_BYTES:]
    yield "a byte less before the trailer", image[:-1] + good[-TRAILER_BYTES:]
    yield "no length", image + signature
    yield "big-endian length", image + signature + struct.pack(">I", SIGNATURE_BYTES)
    for length in (0, 1, 127, 128, 252, 255, 257, 260, 384, 512, 513, len(image), 2**31, 2**32 - 1):
        yield f"length {length}", image + signature + struct.pack("<I", length)
    yield "shorter signature", with_trailer(image, signature[:-1])
    yield "longer signature", with_trailer(image, b"\0" + signature)
    yield "no signature, no image", struct.pack("<I", 256).rjust(260, b"M")
    yield "zeros for a signature", with_trailer(image, bytes(256))
    yield "one for a signature", with_trailer(image, bytes(255) + b"\1")


@each_transport
def test_what_is_not_signed_by_a_key_of_the_board_is_refused(tmp_path, transport):
    device, send = board_for(transport, tmp_path)
    names = []
    with device, device.unharmed():
        ready(device)
        record = device.files()["/.ota/record"]
        for name, data in bad_images(device):
            code = send(device, data)
            assert code == NOT_SIGNED, (name, code)
            assert device.files()["/.ota/record"] == record, name
            names.append(name)
    assert len(set(names)) == len(names) >= 50


@each_transport
@pytest.mark.parametrize("key", [FIRST, SECOND], ids=["first", "second"])
def test_a_signature_by_any_of_the_keys_is_good(tmp_path, transport, key):
    device, send = board_for(transport, tmp_path, key=key)
    with device:
        ready(device)
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
            assert by_application(device, unsigned) == NOT_SIGNED
        assert device.files()["/.ota/record"] == record
        # Nor does a good one before it count for the next.
        assert by_application(device, good) == 0
        assert by_application(device, unsigned) == NOT_SIGNED
        assert by_application(device, good[:-1]) == NOT_SIGNED
        start = device.said
        device.board.reset()
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("takes images", start=start)
        assert by_application(device, good) == 0
        start = device.said
        device.board.reset()
        device.confirmed(start)


@pytest.mark.parametrize("at", [100, 1600, -300, -2], ids=["header", "file", "signature", "length"])
def test_what_counts_is_what_is_read_back_from_flash(tmp_path, at):
    # What arrives is good. The board has no other reason to refuse it.
    good_size = len(SignedDevice(tmp_path).next_image())
    device = SignedDevice(tmp_path, SPOILING_APP.replace("{at}", str(at % good_size)))
    device.app = APP
    with device:
        ready(device)
        record, boots = device.files()["/.ota/record"], device.board.boots
        good = device.next_image()
        assert len(good) == good_size
        assert by_application(device, good) == NOT_SIGNED
        assert device.files()["/.ota/record"] == record and device.board.boots == boots
        start = device.said
        device.upload(good)
        device.confirmed(start)


def test_what_arrived_must_be_what_is_read_back_though_that_is_signed(tmp_path):
    # The flash makes a good image of a bad one.
    good_size = len(SignedDevice(tmp_path).next_image())
    device = SignedDevice(tmp_path, SPOILING_APP.replace("{at}", "100"))
    device.app = APP
    with device:
        ready(device)
        record = device.files()["/.ota/record"]
        assert len(good := device.next_image()) == good_size
        assert by_application(device, flipped(good, 100)) == READ_FAILED
        assert device.files()["/.ota/record"] == record


def test_an_older_signed_release_is_refused(tmp_path):
    with SignedDevice(tmp_path) as device:
        first = device.next_image()
        device.update(first)
        second = device.next_image()
        device.update(second)
        with device.unharmed():
            device.refuses(first, BELOW_FLOOR)
        device.refuses(second, BELOW_FLOOR)


def test_a_signed_release_with_a_file_of_another_is_refused(tmp_path):
    with SignedDevice(tmp_path) as device:
        one, other = (
            device.next_image(files={"lib/a.py": b"a = %d\n" % n, "lib/b.py": b"b = %d\n" % n})
            for n in (1, 2)
        )
        # Header and content of a file are two blocks of 512 bytes; the trailer is behind the end.
        at = one.index(b"lib/a.py\0")
        assert other.index(b"lib/a.py\0") == at and len(one) == len(other)
        mixed = one[:at] + other[at : at + 1024] + one[at + 1024 :]
        with_its_manifest = other[: 512 + 512] + one[1024:]
        with device.unharmed():
            for data in (mixed, with_its_manifest, one[:-TRAILER_BYTES] + other[-TRAILER_BYTES:]):
                assert data not in (one, other)
                device.refuses(data, NOT_SIGNED)
        # Signed as it is, it is still no release: nobody made it.
        device.refuses(signed(tmp_path, mixed[:-TRAILER_BYTES]), FILES_DIFFER)


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
    device.board.wait_for("trial: taken back|boot: not confirmed in 3 boots", start=start)
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
        # Who found the first key is too late.
        record = device.files()["/.ota/record"]
        stolen = signed(tmp_path, device.image(), FIRST)
        device.refuses(stolen, NOT_SIGNED)
        assert device.files()["/.ota/record"] == record
        # Both of the new ones are good, and keys stay though a release brings none.
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
    device.spoiled = True  # it has keys from now on
    device.update(device.next_image(files={"ota.keys": key_file(FIRST)}))
    device.refuses(device.image(), NOT_SIGNED)
    device.update(signed(tmp_path, device.next_image()))
