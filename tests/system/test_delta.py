"""`mpota upload` sends what has changed, where it knows what a board runs; else the whole image."""

import os
import subprocess
import sys

import pytest
from device import APP, Device
from mpota.board.flash import SLOT_STARTS
from mpota.image import delta
from pulling import OK, PullingDevice, filler
from signing import SignedDevice
from web_client import WebDevice
from web_site import WebSite, file

WRONG_BASE, DAMAGED = 45, 37
FILES = {"table.bin": filler(8000), "zeros.bin": bytes(3000)}


@pytest.fixture
def upload(tmp_path):
    """Run the command on an image, with a cache of its own; return what it says."""

    def run(device, image, *arguments):
        path = tmp_path / "image.img"
        path.write_bytes(image)
        where = ["-i", device.board.ip] if not isinstance(device, WebDevice) else [
            "--http", f"http://{device.board.ip}"
        ]  # fmt: skip
        command = [sys.executable, "-m", "mpota", "upload", *where, *map(str, arguments), str(path)]
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def changed(device, line="x = 5"):
    """Return the next release, in which a line has changed."""
    app = device.app.replace("import time", f"import time\n\n{line}")
    return device.next_image(app, FILES)


def test_a_change_of_one_line_travels_in_a_few_hundred_bytes(tmp_path, upload):
    with Device(tmp_path) as device:
        first = upload(device, changed(device))
        assert "instead of" not in first
        image = changed(device, "x = 6")
        said = upload(device, image)
        assert f"instead of {len(image)}: what has changed since small 2\n" in said
        assert int(said.split(" bytes instead of")[0].split("\n")[-1]) < 400
        assert f"small {device.sequence}: confirmed" in said
        assert device.slot(device.record.active)[: len(image)] == image
        # The cache has the last image as well, so that the next update is a delta too.
        assert "since small 3" in upload(device, changed(device, "x = 7"))
        assert device.board.violation == ""


def test_a_signed_image_is_made_of_a_delta_with_its_signature(tmp_path, upload):
    with SignedDevice(tmp_path, password="secret") as device:
        for line in ("x = 1", "x = 2"):
            image = changed(device, line)
            said = upload(device, image, "-a", "secret")
            assert device.slot(device.record.active)[: len(image)] == image
        assert "since small 2" in said


def test_the_page_takes_deltas_too(tmp_path, upload):
    with WebDevice(tmp_path, heap="72k") as device:
        for line in ("x = 1", "x = 2"):
            said = upload(device, changed(device, line))
        assert "since small 2" in said and "small 3: confirmed" in said


def test_a_server_may_send_a_delta(tmp_path):
    with WebSite() as site, PullingDevice(tmp_path) as device:
        base = device.image()
        image = device.next_image(files=FILES)
        outcome = device.update(site.add("/image.delta", file(delta.make(base, image))))
        assert outcome.result == str(OK), outcome
        start = device.boot()
        device.confirmed(start)


def test_a_delta_for_another_version_is_refused_and_costs_nothing(tmp_path):
    with Device(tmp_path) as device:
        device.update(changed(device))
        base = device.image(APP.replace("import time", "import time\n\nx = 5"), FILES)
        before = device.slot(device.idle)
        with device.unharmed():
            image = changed(device, "x = 6")
            device.refuses(delta.make(image, base), WRONG_BASE)
            assert device.slot(device.idle) == before
            good = delta.make(base, image)
            device.refuses(good[:-9], DAMAGED)


def test_where_a_delta_is_refused_the_whole_image_is_sent(tmp_path, upload):
    with Device(tmp_path) as device:
        upload(device, changed(device))
        # A bit in the running slot changes, so that the slot's footer no longer matches it.
        start = SLOT_STARTS[device.record.active]

        def spoil(flash):
            at = flash.index(FILES["table.bin"][4000:4100], start)
            flash[at] ^= 0x10

        lines = device.change_flash(spoil)
        device.board.wait_for("listens on port", start=lines)
        said = upload(device, changed(device, "x = 6"))
        assert "the whole image is sent, since " in said and "confirmed" in said
