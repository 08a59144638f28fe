"""What a boot runs when something is wrong: safe mode, the other slot, or the services alone."""

import pytest
from device import APP, COMMANDED_APP, Device
from mpota.arduino.outcomes import RefusedError
from mpota.board.flash import SLOT_BYTES, SLOT_STARTS, read_slot
from mpota.board.record import NAME
from raw_host import RawHost

pytestmark = pytest.mark.parallel

BELOW_FLOOR = 36


def without_record(files):
    del files[NAME]


def with_bit_flipped(slot, at):
    """Return a change of the flash: a bit of the byte *at* in *slot*."""

    def change(flash):
        flash[SLOT_STARTS[slot] + at] ^= 1

    return change


def unmarked(slot):
    """Return a change of the flash: the mark `accepted` of *slot* is not there."""

    def change(flash):
        end = SLOT_STARTS[slot] + SLOT_BYTES
        flash[end - 8 : end - 4] = b"\xff" * 4

    return change


def test_ten_boots_without_a_healthy_one_lead_to_safe_mode_and_an_update_heals(tmp_path):
    with Device(tmp_path, confirm_s=60, trial_s=60) as device:
        board = device.board
        for _ in range(9):
            start = device.boot()
            board.wait_for("app 1 runs", start=start)
        start = device.boot()
        assert any("safe mode" in line for line in board.lines[start:])
        # Only the services run now; the next boot tries the application once.
        start = device.boot()
        board.wait_for("app 1 runs", start=start)
        start = device.boot()
        assert any("safe mode" in line for line in board.lines[start:])
        assert not any("app 1 runs" in line for line in board.lines[start:])
        start = device.said
        device.upload(
            device.next_image(APP.replace("ota.on_error", "ota.confirm()\n    ota.on_error"))
        )
        device.confirmed(start)
        start = device.boot()
        board.wait_for("app 2 runs", start=start)
        assert board.violation == ""


def test_safe_mode_alone_does_not_make_the_application_healthy(tmp_path):
    with Device(tmp_path, confirm_s=0.8) as device:
        board = device.board
        for _ in range(9):
            device.boot()
        start = device.boot()
        assert any("safe mode" in line for line in board.lines[start:])
        # This takes longer than an application needs to be healthy: the board is silent for half a
        # second before each result.
        for _ in range(3):
            device.fails(b"no image", RefusedError)
        start = device.boot()
        board.wait_for("app 1 runs", start=start)
        start = device.boot()
        assert any("safe mode" in line for line in board.lines[start:])


def test_a_healthy_boot_starts_the_count_anew(tmp_path):
    healthy = APP.replace("        ota.handle()\n", "        ota.handle()\n"
                          "        if ota.healthy:\n            print('healthy')\n"
                          "            time.sleep_ms(50)\n")  # fmt: skip
    with Device(tmp_path, healthy, confirm_s=0.3) as device:
        for _ in range(2):
            for _ in range(8):
                device.boot()
            device.board.wait_for("healthy", start=device.boot())
        assert not any("safe mode" in line for line in device.board.lines)


def test_a_power_cut_does_not_count_as_an_unhealthy_boot(tmp_path):
    with Device(tmp_path, confirm_s=60) as device:
        for _ in range(12):
            device.boot("power cut")
        assert not any("safe mode" in line for line in device.board.lines)


@pytest.mark.parametrize("what", ["missing", "empty", "torn", "flipped", "longer", "garbage"])
def test_with_an_unreadable_record_the_newest_usable_slot_runs(tmp_path, what):
    def damage(files):
        good = files[NAME]
        files[NAME] = {
            "empty": b"", "torn": good[:40], "flipped": bytes([good[0] ^ 1]) + good[1:],
            "longer": good + b"x", "garbage": b"\xa5" * len(good), "missing": b"",
        }[what]  # fmt: skip
        if what == "missing":
            without_record(files)

    with Device(tmp_path) as device:
        device.update()
        start = device.change_files(damage)
        device.board.wait_for("no readable record; slot b is whole", start=start)
        device.board.wait_for("app 2 runs", start=start)
        device.board.wait_for("listens", start=start)
        # The board has written a new record, which contains the floor.
        start = device.boot()
        assert not any("no readable" in line for line in device.board.lines[start:])
        device.sequence = 1
        old = device.image()
        device.sequence = 2
        device.refuses(old, BELOW_FLOOR)
        device.takes_an_update()


DAMAGES = {
    "its MANIFEST": with_bit_flipped("b", 30),
    "its code": with_bit_flipped("b", 200),
    "its beginning": with_bit_flipped("b", 0),
    "its mark `accepted`": unmarked("b"),
    "a bit of it": with_bit_flipped("b", SLOT_BYTES - 8),
    "its mark `rejected`": with_bit_flipped("b", SLOT_BYTES - 4),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_with_an_unreadable_record_a_slot_that_is_not_usable_does_not_run(tmp_path, what):
    with Device(tmp_path) as device:
        device.update()
        device.change_flash(DAMAGES[what])
        start = device.change_files(without_record)
        device.board.wait_for("slot a is whole", start=start)
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("listens", start=start)
        device.sequence = 1
        device.takes_an_update()


@pytest.mark.parametrize("record", ["there", "lost"])
def test_with_both_slots_damaged_the_services_run_and_an_update_heals(tmp_path, record):
    with Device(tmp_path) as device:
        device.update()
        device.change_flash(unmarked("a"))
        start = device.change_flash(unmarked("b"))
        if record == "lost":
            start = device.change_files(without_record)
            device.board.wait_for("no application yet", start=start)
        device.board.wait_for("listens", start=start)
        assert not any("runs" in line for line in device.board.lines[start:])
        device.takes_an_update()


def test_a_refused_image_that_is_whole_never_runs(tmp_path):
    # The refused image lies in the slot, and its footer is correct.
    with Device(tmp_path, COMMANDED_APP) as device:
        data = device.image(APP.replace("app {version}", "the refused one"))
        with RawHost(device.board.ip) as host:
            host.invite(len(data), "0" * 32)
            assert host.answer() == "OK"
            host.accept()
            host.send(data)
            assert "ERROR[7]" in host.result()
        device.board.wait_for("update failed")
        left = read_slot(device.board.flash, "b")
        assert left.image == data and not left.accepted
        start = device.boot()
        start = device.command("ota.revert()", start)
        device.board.wait_for("raises OTAError ERROR.37.", start=start)
        start = device.change_files(without_record)
        device.board.wait_for("no readable record; slot a is whole", start=start)
        device.board.wait_for("app 1 runs", start=start)
        device.command("ota.revert()", start)
        device.board.wait_for("raises OTAError ERROR.37.", start=start)
        device.change_flash(with_bit_flipped("a", 200))
        start = device.change_files(without_record)
        device.board.wait_for("no application yet", start=start)
        device.board.wait_for("listens", start=start)
        device.takes_an_update()
        assert not any("the refused one" in line for line in device.board.lines)


def test_a_rejected_image_never_runs_again(tmp_path):
    with Device(tmp_path, COMMANDED_APP) as device:
        start = device.said
        device.upload(device.next_image("def main(ota):\n    print('app 2 runs')\n    1 / 0"))
        device.board.wait_for("app 2 runs", start=start)
        device.board.wait_for("app 1 runs", start=start)
        left = read_slot(device.board.flash, "b")
        assert left.accepted and left.rejected
        start = device.command("ota.revert()", start)
        device.board.wait_for("raises OTAError ERROR.37.", start=start)
        start = device.change_files(without_record)
        device.board.wait_for("no readable record; slot a is whole", start=start)
        device.board.wait_for("app 1 runs", start=start)
        device.command("ota.revert()", start)
        device.board.wait_for("raises OTAError ERROR.37.", start=start)
        assert not any("app 2 runs" in line for line in device.board.lines[start:])
        device.takes_an_update()


def test_a_verified_image_that_is_damaged_before_its_trial_is_not_tried_and_not_rejected(tmp_path):
    with Device(tmp_path, reboot_on_success=False) as device:
        data = device.next_image()
        device.upload(data)
        device.board.wait_for("update ended")
        start = device.change_flash(with_bit_flipped("b", 200))
        device.board.wait_for("slot b: failed: the new version is not whole", start=start)
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("listens", start=start)
        device.upload(data)
        start = device.boot()
        device.confirmed(start)


def test_a_record_half_replaced_is_not_looked_at(tmp_path):
    def leave(files):
        files[NAME + ".new"] = b"\xa5" * 80

    with Device(tmp_path) as device:
        start = device.change_files(leave)
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("listens", start=start)
        device.takes_an_update()


@pytest.mark.parametrize(
    "app", ["raise ValueError('broken')", "def main(ota):\n    1 / 0", "x = 1"]
)
def test_a_confirmed_application_that_raises_leaves_the_services_running(tmp_path, app):
    with Device(tmp_path, app) as device:
        device.board.wait_for("Error")
        device.app = APP
        device.takes_an_update()


def test_an_application_whose_main_returns_leaves_the_services_running(tmp_path):
    with Device(tmp_path, "def main(ota):\n    print('done')\n") as device:
        device.app = APP
        device.takes_an_update()


def test_a_boot_with_nothing_pending_writes_nothing(tmp_path):
    # Becoming healthy does not write anything either.
    app = APP.replace(
        "    while True:", "    while not ota.healthy:\n        ota.handle()\n    while True:"
    )
    app = app.replace("    while True:", "    print('healthy')\n    while True:")
    with Device(tmp_path, app) as device:
        device.board.wait_for("^healthy")
        operations = device.board.operations
        for how in ("reset", "power cut", "reset"):
            start = device.boot(how)
            device.board.wait_for("^healthy", start=start)
            assert device.board.operations == operations


def test_data_and_settings_survive_update_and_rollback(tmp_path):
    kept = {"/data/readings.csv": b"1,2,3\n" * 999, "/data/deep/er/x": b"x", "/notes.txt": b"mine"}
    with Device(tmp_path) as device:
        device.change_files(lambda files: files.update(kept))
        settings = device.files()["/ota.json"]
        device.board.wait_for("listens")
        device.update()
        start = device.said
        device.upload(device.next_image("def main(ota):\n    1 / 0"))
        device.board.wait_for("app 2 runs", start=start)
        files = device.files()
        assert kept | {"/ota.json": settings} == {n: files[n] for n in [*kept, "/ota.json"]}
        device.takes_an_update()
