"""A new version over the air is tried and confirmed, and so is the next one after it."""

import hashlib

import boards
import pytest
from device import APP, Device
from mpota import arduino
from mpota.board.flash import read_slot
from mpota.image.directory import pack_directory
from mpota.sim import Board

pytestmark = pytest.mark.parallel

ASYNC_APP = """
import asyncio

async def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    print("app {version} runs")
    while True:
        await asyncio.sleep_ms(20)
"""
GARDEN_1, GARDEN_2 = (pack_directory(boards.GARDEN / v).data for v in ("1.0.0", "2.0.0"))
PASSWORD_HASH = hashlib.md5(b"secret").hexdigest()


@pytest.mark.parametrize("app", [APP, ASYNC_APP], ids=["plain", "async"])
@pytest.mark.parametrize("then", [APP, ASYNC_APP], ids=["plain", "async"])
def test_one_update_after_another_is_installed_and_confirmed(tmp_path, app, then):
    with Device(tmp_path, app) as device:
        for source in (then, app, then):
            device.update(device.next_image(source))
        assert device.board.violation == ""


@pytest.mark.parametrize(
    ("settings", "auth"),
    [({"password": "secret"}, "classic"), ({"password": "secret"}, "strict"),
     ({"password_hash": PASSWORD_HASH}, "classic"),
     ({"password_hash": PASSWORD_HASH.upper()}, "classic"),
     ({"password_hash": PASSWORD_HASH, "password": "no"}, "classic")],
    ids=["classic", "strong", "hash", "hash in capitals", "hash rather than password"],
)  # fmt: skip
def test_an_update_with_the_password(tmp_path, settings, auth):
    with Device(tmp_path, **settings) as device:
        start = device.said
        device.upload(device.next_image(), password="secret", auth=auth)
        device.confirmed(start)


@pytest.mark.parametrize("name", ["app/__init__.py", "lib/app.py"])
def test_an_application_may_be_a_package_or_lie_in_lib(device, name):
    device.sequence += 1
    source = APP.replace("{version}", str(device.sequence)).encode()
    files = {name: source, "notes.txt": b"x" * 5000}
    facts = {"name": "small", "version": "9", "sequence": device.sequence}
    device.update(boards.application_image(files, **facts))
    device.takes_an_update()


def test_the_slot_holds_exactly_what_was_sent_and_the_record_its_size_and_md5(device):
    data = device.next_image(files={"data.bin": bytes(range(256)) * 40})
    device.update(data)
    record = device.record
    slot = read_slot(device.board.flash, record.active)
    assert slot.image == data and slot.accepted and not slot.rejected
    received = getattr(record, record.active)
    assert received.md5 in (hashlib.md5(data).digest(), bytes(16))
    assert (received.sequence, received.size_bytes) == (device.sequence, len(data))
    device.takes_an_update()


# An application that reads files of its release, and writes its own data.
READING_APP = APP.replace("    print(", """    import os
    from deep.er import number
    print("reads", number, open("/app/deep/text.txt").read(), sorted(os.listdir("/app")))
    try:
        open("/app/new.txt", "w")
    except OSError:
        print("cannot write")
    print(""")  # fmt: skip


def test_an_application_finds_its_files_at_app_and_cannot_change_them(device):
    files = {"deep/er.py": b"number = 17\n", "deep/text.txt": b"some text", "empty": b""}
    start = device.said
    device.update(device.next_image(READING_APP, files))
    names = ["MANIFEST", "app.mpy", "deep", "empty"]
    device.board.wait_for(f"reads 17 some text {names}".replace("[", r"\["), start=start)
    device.board.wait_for("cannot write", start=start)
    device.takes_an_update()


def test_the_example_garden_is_updated_with_its_valve_shut_first(tmp_path):
    board = boards.board_with(tmp_path, GARDEN_1, confirm_s=0.1)
    with board:
        board.wait_for("garden 1.0.0: watering")
        board.wait_for("listens on port")
        arduino.upload(GARDEN_2, board_ip=board.ip)
        board.wait_for("is confirmed")
        board.wait_for("garden 2.0.0: watering by schedule")
        shut = board.lines.index("garden: valve shut for the update")
        assert shut < next(i for i, line in enumerate(board.lines) if "bytes announced" in line)
        assert board.violation == ""


def test_without_reboot_on_success_the_next_reset_tries_what_was_verified(tmp_path):
    with Device(tmp_path, reboot_on_success=False) as device:
        for _ in range(2):  # the second update replaces the first
            start = device.said
            device.upload(device.next_image())
            device.board.wait_for("update ended", start=start)
        assert device.board.boots == 1
        start = device.said
        device.board.reset()
        device.confirmed(start)
        assert not any("app 2 runs" in line for line in device.board.lines)


def test_an_update_that_begins_ends_the_trial_of_what_was_verified_before_it(tmp_path):
    with Device(tmp_path, reboot_on_success=False) as device:
        device.upload(device.next_image())
        device.board.wait_for("update ended")
        device.refuses(device.image()[:-1] + b"x", 37)
        start = device.boot()
        device.board.wait_for("app 1 runs", start=start)
        assert device.record.outcome == "replaced by another update before it was tried"


def test_a_keeper_that_starts_again_goes_on_with_the_same_flash(tmp_path):
    with Device(tmp_path) as device:
        device.update()
        flash = device.board.flash
    with Board(flash, ip=boards.own_ip()) as device.board:
        device.board.wait_for("app 2 runs")
        device.board.wait_for("listens on port")
        device.takes_an_update()
