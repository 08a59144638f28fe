"""What a boot runs when something is wrong: safe mode, the other slot, services alone."""

import pytest
from device import APP, Device
from mpota.arduino.outcomes import RefusedError
from mpota.sim import create_flash

pytestmark = pytest.mark.parallel

_RECORD = "/.ota/record"


def boot_once(device, how="reset"):
    """Reset the board or cut its power; give the number of the first line after it."""
    start = device.said
    if how == "reset":
        device.board.reset()
    else:
        device.board.power_off()
        device.board.power_on()
    device.board.wait_for("boot: ", start=start)
    device.board.wait_for("listens", start=start)
    return start


def change_files(device, change):
    """With the power off, let *change* edit the dict of all files; then power on."""
    device.board.power_off()
    files = device.files()
    change(files)
    create_flash(device.board.flash, files)
    start = device.said
    device.board.power_on()
    return start


def test_ten_boots_without_a_healthy_one_lead_to_safe_mode_and_an_update_heals(tmp_path):
    with Device(tmp_path, confirm_s=60, trial_s=60) as device:
        board = device.board
        for _ in range(9):
            start = boot_once(device)
            board.wait_for("app 1 runs", start=start)
        start = boot_once(device)
        assert any("safe mode" in line for line in board.lines[start:])
        # Only the services run; the boot after this one tries the application once.
        start = boot_once(device)
        board.wait_for("app 1 runs", start=start)
        start = boot_once(device)
        assert any("safe mode" in line for line in board.lines[start:])
        assert not any("app 1 runs" in line for line in board.lines[start:])
        start = device.said
        device.upload(
            device.next_image(APP.replace("ota.on_error", "ota.confirm()\n    ota.on_error"))
        )
        device.confirmed(start)
        start = boot_once(device)
        board.wait_for("app 2 runs", start=start)
        assert board.violation == ""


def test_safe_mode_alone_does_not_make_the_application_healthy(tmp_path):
    with Device(tmp_path, confirm_s=0.8) as device:
        board = device.board
        for _ in range(9):
            boot_once(device)
        start = boot_once(device)
        assert any("safe mode" in line for line in board.lines[start:])
        # Longer than an application must run to be healthy: the board is silent for half a second
        # before each result.
        for _ in range(3):
            device.fails(b"M" + bytes(2000), RefusedError)
        start = boot_once(device)
        board.wait_for("app 1 runs", start=start)
        start = boot_once(device)
        assert any("safe mode" in line for line in board.lines[start:])


def test_a_healthy_boot_starts_the_count_anew(tmp_path):
    healthy = APP.replace("        ota.handle()\n", "        ota.handle()\n"
                          "        if ota.healthy:\n            print('healthy')\n"
                          "            time.sleep_ms(50)\n")  # fmt: skip
    with Device(tmp_path, healthy, confirm_s=0.3) as device:
        for _ in range(2):
            for _ in range(8):
                boot_once(device)
            device.board.wait_for("healthy", start=boot_once(device))
        assert not any("safe mode" in line for line in device.board.lines)


def test_a_power_cut_does_not_count_as_an_unhealthy_boot(tmp_path):
    with Device(tmp_path, confirm_s=60) as device:
        for _ in range(12):
            boot_once(device, "power cut")
        assert not any("safe mode" in line for line in device.board.lines)


@pytest.mark.parametrize("what", ["missing", "empty", "torn", "flipped", "longer", "garbage"])
def test_with_an_unreadable_record_the_newest_whole_slot_runs(tmp_path, what):
    def damage(files):
        good = files[_RECORD]
        files[_RECORD] = {
            "empty": b"", "torn": good[:40], "flipped": bytes([good[0] ^ 1]) + good[1:],
            "longer": good + b"x", "garbage": b"\xa5" * len(good), "missing": b"",
        }[what]  # fmt: skip
        if what == "missing":
            del files[_RECORD]

    with Device(tmp_path) as device:
        device.update()
        start = change_files(device, damage)
        device.board.wait_for("no readable record, slot b is whole", start=start)
        device.board.wait_for("app 2 runs", start=start)
        device.board.wait_for("listens", start=start)
        # The record is there again, and so are floor and rollback.
        start = boot_once(device)
        assert not any("no readable" in line for line in device.board.lines[start:])
        device.sequence = 1
        old = device.image()
        device.sequence = 2
        device.refuses(old, 36)
        device.takes_an_update()


@pytest.mark.parametrize("what", ["app.py", "MANIFEST", "missing file", "missing MANIFEST"])
def test_with_an_unreadable_record_a_damaged_slot_does_not_run(tmp_path, what):
    def damage(files):
        del files[_RECORD]
        name = "/.ota/b/" + ("app.py" if "app" in what or "file" in what else "MANIFEST")
        if "missing" in what:
            del files[name]
        else:
            content = bytearray(files[name])
            content[len(content) // 2] ^= 1
            files[name] = bytes(content)

    with Device(tmp_path) as device:
        device.update()
        start = change_files(device, damage)
        device.board.wait_for("slot a is whole", start=start)
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("listens", start=start)
        device.takes_an_update()


def test_without_a_whole_slot_the_services_run_and_an_update_heals(tmp_path):
    def damage(files):
        del files[_RECORD], files["/.ota/a/app.py"]

    with Device(tmp_path) as device:
        start = change_files(device, damage)
        device.board.wait_for("no application yet", start=start)
        device.board.wait_for("listens", start=start)
        device.takes_an_update()


def test_a_record_half_replaced_is_not_looked_at(tmp_path):
    def leave(files):
        files[_RECORD + ".new"] = b"\xa5" * 68

    with Device(tmp_path) as device:
        start = change_files(device, leave)
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


def test_a_file_that_is_damaged_in_staging_is_not_installed(tmp_path):
    def damage(files):
        staged = bytearray(files["/.ota/staging"])
        staged[1600] ^= 1
        files["/.ota/staging"] = bytes(staged)

    with Device(tmp_path, reboot_on_success=False) as device:
        device.upload(device.next_image())
        start = change_files(device, damage)
        device.board.wait_for("the image is dropped", start=start)
        device.board.wait_for("app 1 runs", start=start)


def test_a_boot_with_nothing_pending_writes_nothing(tmp_path):
    # Nor does becoming a healthy one.
    app = APP.replace(
        "    while True:", "    while not ota.healthy:\n        ota.handle()\n    while True:"
    )
    app = app.replace("    while True:", "    print('healthy')\n    while True:")
    with Device(tmp_path, app) as device:
        device.board.wait_for("^healthy")
        operations = device.board.operations
        for how in ("reset", "power cut", "reset"):
            start = boot_once(device, how)
            device.board.wait_for("^healthy", start=start)
            assert device.board.operations == operations


def test_data_and_settings_survive_update_and_rollback(tmp_path):
    kept = {"/data/readings.csv": b"1,2,3\n" * 999, "/data/deep/er/x": b"x", "/notes.txt": b"mine"}
    with Device(tmp_path) as device:
        change_files(device, lambda files: files.update(kept))
        settings = device.files()["/ota.json"]
        device.board.wait_for("listens")
        device.update()
        start = device.said
        device.upload(device.next_image("def main(ota):\n    1 / 0"))
        device.board.wait_for("app 2 runs", start=start)
        files = device.files()
        assert kept | {"/ota.json": settings} == {n: files[n] for n in [*kept, "/ota.json"]}
        device.takes_an_update()
