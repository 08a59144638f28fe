"""`mpota config`, `monitor`, `backup` and `restore` on a simulated board's serial port."""

import json
import re
import stat

import pytest
from boards import small_image
from mpota import arduino
from mpota.arduino.outcomes import UploadError
from mpota.board import settings
from mpota.board.flash import read_flash
from mpota.board.set_up import Job, set_up
from serial_board import Report, SerialBoard, firmware

KEY, PASSWORD = "wifi-secret", "geheim7"
SETTINGS = {"ssid": "garden", "key": KEY, "hostname": "valve", "password": PASSWORD}


@pytest.fixture(scope="module")
def flashed(tmp_path_factory):
    with SerialBoard(tmp_path_factory.mktemp("flashed")) as board:
        job = Job(firmware(), small_image("1", 1))
        set_up(str(board.port), job, lambda _: settings.for_board(SETTINGS), Report())
        yield board


def test_settings_are_shown_without_secrets(flashed):
    said = flashed.run("config", "get")
    assert "ssid = garden\n" in said
    assert "hostname = valve\n" in said
    assert "key = (set, not shown)\n" in said
    assert "password = (set, not shown)\n" in said
    assert KEY not in said
    assert settings.derived(PASSWORD)["password_sha256"] not in said
    assert flashed.run("config", "get", "hostname", "port") == (
        "hostname = valve\nport = (not set)\n"
    )


def test_a_setting_is_changed_and_the_board_restarts_with_it(flashed):
    start = len(flashed.board.lines)
    said = flashed.run("config", "set", "hostname=pump", "confirm_s=20")
    assert "hostname, confirm_s: written" in said
    flashed.board.wait_for("pump listens", start=start)
    assert "confirm_s = 20\n" in flashed.run("config", "get")
    start = len(flashed.board.lines)
    flashed.run("config", "set", "hostname=valve", "confirm_s=")
    flashed.board.wait_for("valve listens", start=start)
    assert "confirm_s" not in flashed.run("config", "get")


def test_the_page_s_login_is_not_removed_by_half(flashed):
    flashed.run("config", "set", "web_user=anna", f"password={PASSWORD}")
    for name in ("web_user", "web_password"):
        start = len(flashed.board.lines)
        said = flashed.run("config", "set", f"{name}=", status=1)
        assert f"error: the setting {name} cannot be removed alone" in said
        flashed.board.wait_for("listens on port", start=start)  # it was stopped to be asked
    assert "web_user = anna\n" in flashed.run("config", "get")
    flashed.run("config", "set", "web_user=", f"password={PASSWORD}")
    assert "web_user = (not set)\n" in flashed.run("config", "get", "web_user")


def test_a_new_password_is_read_from_the_input_and_kept_as_what_it_is_derived_from(flashed):
    start = len(flashed.board.lines)
    assert "new-secret" not in flashed.run("config", "set", "password", typed="new-secret\n")
    flashed.board.wait_for("listens on port", start=start)
    ip, image = flashed.board.ip, small_image("2", 2)
    with pytest.raises(UploadError):
        arduino.upload(image, board_ip=ip, password=PASSWORD)
    arduino.upload(image, board_ip=ip, password="new-secret")
    flashed.board.wait_for("app 2 runs", start=start)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "hostname=a b"), "letters, digits and hyphens"),
        (("set", "port=x"), "port must be a number"),
        (("set", "hostname"), "give hostname=VALUE"),
        (("set",), "no setting is given"),
        (("set", "password_hash=00"), "is made of the password"),
        (("put",), "give get or set"),
    ],
)
def test_a_change_that_is_wrong_is_named_without_asking_the_board(flashed, arguments, said):
    operations = flashed.board.operations
    assert said in flashed.run("config", *arguments, status=1)
    assert flashed.board.operations == operations


def test_what_the_board_says_is_shown_with_times_and_across_a_pulled_cable(tmp_path):
    with SerialBoard(tmp_path) as board:
        set_up(str(board.port), Job(firmware()), lambda _: {"ssid": "garden"}, Report())
        with board.start("monitor", PYTHONUNBUFFERED="1") as monitor:

            def shown(pattern):
                for line in monitor.stdout:
                    if re.search(pattern, line):
                        return line
                return None

            assert shown("is open")
            board.board.reset()
            assert re.match(r"\d\d:\d\d:\d\d\.\d\d\d  \[ota\]", shown("listens on port"))
            board.adapter.unplug()
            assert shown("went away; waiting for it to come back")
            board.adapter.plug()
            assert shown("is open")
            board.board.reset()
            assert shown("listens on port")
            monitor.terminate()


def test_files_are_saved_and_written_back(flashed, tmp_path):
    saved = tmp_path / "saved"
    said = flashed.run("backup", saved)
    assert "3 files" in said
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    names = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert names == {"boot.py", "main.py", "ota.json"}
    (saved / "data" / "deep").mkdir(parents=True)
    (saved / "data" / "deep" / "table.bin").write_bytes(bytes(range(256)) * 9)
    settings_now = json.loads((saved / "ota.json").read_text())
    (saved / "ota.json").write_text(json.dumps(settings_now | {"hostname": "restored"}))
    (saved / "main.py").write_text("print('from before mpota')")
    start = len(flashed.board.lines)
    said = flashed.run("restore", saved)
    assert "/main.py is left out" in said
    assert "3 files are written" in said
    flashed.board.wait_for("restored listens", start=start)
    flashed.board.power_off()
    files = read_flash(flashed.flash)
    flashed.board.power_on()
    assert files["/data/deep/table.bin"] == bytes(range(256)) * 9
    assert "/.ota/record" in files
    assert not any(name.endswith(".new") for name in files)


def test_the_whole_flash_is_saved_and_written_back(flashed, tmp_path):
    flashed.run("backup", tmp_path / "saved", "--flash")
    flashed.board.power_off()
    before = flashed.flash.read_bytes()
    saved = (tmp_path / "saved" / "flash.bin").read_bytes()
    assert saved[: len(saved) - 20 * 1024][:0xB0000] == before[:0xB0000]
    flashed.flash.write_bytes(b"\xff" * len(before))
    flashed.board.power_on()
    start = len(flashed.board.lines)
    flashed.run("restore", tmp_path / "saved", "--flash")
    flashed.board.wait_for("listens on port", start=start)


def test_what_cannot_be_saved_or_restored_is_named(flashed, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    assert "is not empty" in flashed.run("backup", tmp_path / "full", status=1)
    assert "is not a directory" in flashed.run("restore", tmp_path / "none", status=1)
    (tmp_path / "empty").mkdir()
    assert "no files of a board" in flashed.run("restore", tmp_path / "empty", status=1)
    assert "there is no" in flashed.run("restore", tmp_path / "empty", "--flash", status=1)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "flash.bin").write_bytes(b"\xff" * 4096)
    said = flashed.run("restore", tmp_path / "small", "--flash", status=1)
    assert "has 4096 bytes" in said
    assert "nothing was written" in said
