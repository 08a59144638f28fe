"""Images that `gzip -9` has made smaller, by every way that updates come, signed or not."""

import hashlib
import itertools
import subprocess
from pathlib import Path

import boards
from device import Device
from mpota.image.compression import compress
from pulling import NO_UPDATES, OK, PullingDevice, filler
from raw_host import RawHost
from signing import SignedDevice, signed
from web_client import WebDevice
from web_site import WebSite, file

NOT_SIGNED, DAMAGED = 12, 37
# The boards have a password, because a board without one makes a pause after failed transfers.
PASSWORD = "secret"


def gzip_9(data: bytes) -> bytes:
    """Return what `gzip -9` makes of *data*, with a name in its header."""
    return subprocess.run(["gzip", "-9", "-c"], input=data, capture_output=True, check=True).stdout


def release(device: Device) -> bytes:
    """Return the next release, in which matches reach far back."""
    block = filler(9000)
    files = {"a.bin": block, "b.bin": block[::-1], "c.bin": block, "d.bin": bytes(20000)}
    return Device.next_image(device, files=files)


def test_a_gzip_sent_by_the_arduino_protocol_is_confirmed_whatever_the_handshake(tmp_path):
    with Device(tmp_path) as device:
        for auth, pack in itertools.product(("classic", "strict"), (gzip_9, compress)):
            start = device.said
            image = release(device)
            packed = pack(image)
            assert len(packed) < len(image)
            device.upload(packed, auth=auth)
            device.confirmed(start)
            assert device.slot(device.record.active)[: len(image)] == image
            assert device.board.violation == ""


def test_an_example_that_gzip_has_made_smaller_is_sent_by_a_host_like_espota(tmp_path):
    path = tmp_path / "logger.img"
    path.write_bytes(boards.logger_release(2))
    subprocess.run(["gzip", "-9", path], check=True)
    packed = Path(f"{path}.gz").read_bytes()
    # The heap of test_ordinary_applications.py, which runs the same example.
    device = Device(tmp_path, app="*", heap="64k")
    with device, RawHost(device.board.ip) as host:
        start = device.said
        host.begin(packed)
        host.send(packed)
        assert host.result() == "OK"
        device.board.wait_for("logger 1.2.0 is verified", start=start)
        device.board.wait_for("is confirmed", start=start)
        assert device.record.outcome == "confirmed: 2"


def test_its_md5_and_size_are_on_record_as_they_were_sent(tmp_path):
    with Device(tmp_path) as device:
        image = release(device)
        packed = gzip_9(image)
        device.update(packed)
        record = device.record
        kept = record.b if record.active == "b" else record.a
        assert (kept.size_bytes, kept.md5) == (len(packed), hashlib.md5(packed).digest())


def test_a_gzip_sent_to_the_page_is_confirmed_raw_and_in_a_form(tmp_path):
    # A form takes more heap for objects than a gzip alone. Objects are twice as large here as on
    # the chip, so this board has a larger heap.
    with WebDevice(tmp_path, heap="64k") as device:
        path = tmp_path / "image.gz"
        for form in (False, True):
            start = device.said
            path.write_bytes(gzip_9(release(device)))
            data = f"image=@{path}"
            answer = device.curl("-F", data) if form else device.post(path.read_bytes())
            assert answer.status == 200 and "Update Success" in answer.text
            device.confirmed(start)


def test_a_gzip_from_a_server_is_confirmed(tmp_path):
    with WebSite() as site, PullingDevice(tmp_path) as device:
        image = release(device)
        outcome = device.update(site.add("/image.gz", file(gzip_9(image))))
        assert outcome.result == str(OK), outcome
        start = device.boot()
        device.confirmed(start)
        assert device.slot(device.record.active)[: len(image)] == image


def test_a_gzip_of_the_release_that_runs_is_no_update(tmp_path):
    with WebSite() as site, PullingDevice(tmp_path) as device:
        for number, pack in enumerate((gzip_9, compress)):
            # The server sends neither an ETag nor a date.
            url = site.add(f"/{number}.gz", file(pack(device.image())))
            outcome = device.update(url)
            assert (outcome.result, outcome.events) == (str(NO_UPDATES), []), outcome
            outcome = device.update(site.add(f"/new-{number}.gz", file(pack(release(device)))))
            assert outcome.result == str(OK), outcome
            device.confirmed(device.boot())
            device.board.wait_for("takes commands", start=device.said - 5)


def test_a_board_with_keys_takes_a_gzip_that_is_signed_or_whose_image_is(tmp_path):
    with SignedDevice(tmp_path) as device:
        for pack in (gzip_9, compress):
            start = device.said
            device.upload(signed(tmp_path, pack(release(device))))
            device.confirmed(start)
            start = device.said
            device.upload(pack(signed(tmp_path, release(device))), auth="classic")
            device.confirmed(start)
        assert device.board.violation == ""


def test_a_board_with_keys_takes_no_other_gzip(tmp_path):
    with SignedDevice(tmp_path, password=PASSWORD) as device:
        device.update()
        image = Device.next_image(device)
        packed = gzip_9(image)
        good = signed(tmp_path, packed)
        with device.unharmed():
            for data in (
                packed,
                compress(image),
                good[:-1],
                packed + good[-260:-1] + b"!",
                gzip_9(good),
                signed(tmp_path, image) + b"\x1f",
                gzip_9(image[:-1]) + good[-260:],
                signed(tmp_path, packed, key=1),
                gzip_9(signed(tmp_path, image, key=1)),
            ):
                device.refuses(data, NOT_SIGNED, DAMAGED, 10)


def test_a_bomb_and_a_cut_stream_end_at_the_slot_and_harm_nothing(tmp_path):
    with Device(tmp_path, password=PASSWORD) as device:
        device.update()
        image = device.next_image(files={"zeros": bytes(90_000)})
        huge = boards.small_image("9", 9, {"zeros": bytes(200_000)})
        packed = gzip_9(image)
        assert len(gzip_9(huge)) < 2000
        with device.unharmed():
            device.refuses(gzip_9(huge), 4)
            device.refuses(gzip_9(bytes(50_000_000))[:90_000], 10)
            for size in (len(packed) - 1, len(packed) - 8, len(packed) // 2, 20):
                device.refuses(packed[:size], DAMAGED)
            device.refuses(packed + b"more", DAMAGED)
            device.refuses(packed + packed, DAMAGED)
