"""`mpota flash`: a blank board is set up over serial, and then updated over the air."""

import contextlib
import hashlib
import json
import os
import pty
import subprocess
import sys
import threading
import time

import pytest
import serial
from boards import GARDEN, SMALL_APP, small_image
from mpota import arduino
from mpota.board import prompt as prompt_module
from mpota.board import set_up as set_up_module
from mpota.board.flash import read_flash, read_slot
from mpota.board.prompt import Kind, Prompt
from mpota.board.serial import Loader
from mpota.board.set_up import Job, set_up
from mpota.cli import flash as flash_command
from mpota.errors import CommandError
from mpota.image.directory import pack_directory
from mpota.sim.boot_rom import Chip
from mpota.sim.firmware import stand_in_firmware
from mpota.sim.rom_modules import control
from serial_board import FIRMWARE, MIB, Report, SerialBoard, firmware
from signing import FIRST, public_pem

MAC = bytes.fromhex("5ccf7fc0ff02")
SETTINGS = {"ssid": "garden", "hostname": "valve", "confirm_s": 0.3}


@pytest.fixture
def blank(tmp_path):
    with SerialBoard(tmp_path) as board:
        yield board


def one_error(said):
    """Return the one line of an error, without what came before it."""
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    return lines[0]


def job(**changes):
    defaults = {"firmware": firmware(), "application": small_image("1", 1), "patience_s": 30}
    return Job(**defaults | changes)


# From blank to updated


def test_a_blank_board_is_flashed_comes_up_and_is_updated_over_the_air(blank):
    said = blank.flash_it(
        "--app", GARDEN / "1.0.0", MPOTA_PASSWORD="geheim7", MPOTA_WIFI_KEY="wifi-secret"
    )
    ip = blank.board.ip
    assert "ESP8266EX, MAC 5c:cf:7f:c0:ff:" in said
    assert "2 MiB of flash" in said
    assert "written and verified" in said
    assert f"valve is up at {ip}" in said
    assert f"mpota upload -i {ip} DIR" in said
    assert "geheim7" not in said
    assert "wifi-secret" not in said
    # The access point that a new MicroPython opens is off.
    assert blank.board.control[control.ACTIVE + 4] == 0

    start = len(blank.board.lines)
    release = pack_directory(GARDEN / "2.0.0").data
    arduino.upload(release, board_ip=ip, password="geheim7")
    blank.board.wait_for("slot b on trial", start=start)
    blank.board.wait_for("garden 2.0.0", start=start)
    blank.board.stop()
    assert read_slot(blank.flash, "b").image == release


def test_a_flashed_board_has_what_the_flash_map_says(blank):
    blank.flash_it("--app", GARDEN / "1.0.0", MPOTA_PASSWORD="geheim7")
    blank.board.stop()
    content = blank.flash.read_bytes()
    # The firmware is unchanged, except for two bytes that esptool may change: here the flash size.
    assert content[4 : len(FIRMWARE)] == FIRMWARE[4:]
    assert (content[0], content[1], content[2], content[3] & 0x0F) == tuple(FIRMWARE[:3]) + (0,)
    assert content[3] >> 4 == 3  # 2 MiB
    assert content[0x0B0000:0x0B0003] == b"\xd2\xcd\x31"
    slot = read_slot(blank.flash, "a")
    assert slot.image == pack_directory(GARDEN / "1.0.0").data
    assert slot.accepted
    assert not slot.rejected
    assert content[0x0E7000:0x100000].strip(b"\xff") == b""
    files = read_flash(blank.flash)
    assert set(files) == {"/boot.py", "/main.py", "/ota.json", "/.ota/record"}
    settings = json.loads(files["/ota.json"])
    login = b"mpota:mpota:geheim7"
    assert settings == {
        "ssid": "garden",
        "hostname": "valve",
        "password_hash": hashlib.md5(b"geheim7").hexdigest(),
        "password_sha256": hashlib.sha256(b"geheim7").hexdigest(),
        "web_ha1_md5": hashlib.md5(login).hexdigest(),
        "web_ha1_sha256": hashlib.sha256(login).hexdigest(),
        "web": True,
    }
    assert b"geheim7" not in content


def test_a_password_is_made_where_none_is_given_and_shown_once(blank):
    said = blank.flash_it("--app", GARDEN / "1.0.0")
    (line,) = [line for line in said.splitlines() if "shown this once" in line]
    password = line.rpartition(" ")[2]
    assert said.count(password) == 1
    start = len(blank.board.lines)
    arduino.upload(
        pack_directory(GARDEN / "2.0.0").data, board_ip=blank.board.ip, password=password
    )
    blank.board.wait_for("slot b on trial", start=start)


def test_without_an_application_the_services_come_up_alone(blank):
    blank.flash_it(MPOTA_PASSWORD="geheim7")
    start = len(blank.board.lines)
    arduino.upload(small_image("1", 1), board_ip=blank.board.ip, password="geheim7")
    blank.board.wait_for("app 1 runs", start=start)


def test_a_board_with_other_things_in_its_flash_becomes_as_good_as_a_blank_one(tmp_path):
    with SerialBoard(tmp_path, content=hashlib.sha256(b"old").digest()) as board:
        board.flash_it("--app", GARDEN / "1.0.0", MPOTA_PASSWORD="x")
        board.board.stop()
        content = board.flash.read_bytes()
        assert content[0x0E7000:0x100000].strip(b"\xff") == b""
        assert content[-20 * 1024 :].strip(b"\xff") != b""
        board.board.power_on()
        board.flash_it("--app", GARDEN / "1.0.0", "--erase", MPOTA_PASSWORD="x")
        board.board.stop()
        assert board.flash.read_bytes()[-20 * 1024 :].strip(b"\xff") == b""


def test_a_public_key_goes_on_the_board(blank, tmp_path):
    key = tmp_path / "public.key"
    key.write_bytes(public_pem(FIRST))
    blank.flash_it("--publickey", key, MPOTA_PASSWORD="x")
    blank.board.stop()
    assert read_flash(blank.flash)["/ota.keys"] == key.read_bytes()


def test_a_board_with_8_mib_gets_the_sdk_s_calibration_data(tmp_path):
    with SerialBoard(tmp_path, mib=8) as board:
        set_up(str(board.port), job(), lambda _: SETTINGS, Report())
        board.board.wait_for("app 1 runs")
        content = board.flash.read_bytes()
        assert content[3] >> 4 == 8
        assert content[0x7FC000 : 0x7FC000 + 128] == firmware().init_data()


def test_an_esp8285_can_be_given_its_flash_mode(tmp_path):
    chip = Chip(MAC, 0x1540EF, embedded_flash=True)
    with SerialBoard(tmp_path, chip=chip) as board:
        report = Report()
        set_up(str(board.port), job(flash_mode="dout"), lambda _: SETTINGS, report)
        assert any("ESP8285N16" in line for line in report.lines)
        assert board.flash.read_bytes()[2] == 3


def test_all_of_the_flash_run_is_shown_as_it_goes_on(blank):
    report = Report()
    set_up(str(blank.port), job(), lambda _: SETTINGS, report)
    done = [done for phase, done, _ in report.phases if phase == "writing the flash"]
    assert len(done) > 20
    assert done == sorted(done)
    total = report.phases[-1][2]
    assert done[-1] == total > len(FIRMWARE)


# The serial line and its adapter


def test_a_bad_line_makes_it_go_on_more_slowly(tmp_path):
    with SerialBoard(tmp_path, fastest_baud=115200) as board:
        report = Report()
        _, ready = set_up(str(board.port), job(), lambda _: SETTINGS, report)
        assert ready.hostname == "valve"
        assert any("continuing at 115200 baud" in line for line in report.lines)


def test_a_line_on_which_nothing_can_be_understood_is_said_to_be_so(tmp_path):
    with SerialBoard(tmp_path, fastest_baud=9600) as board:
        told = []
        with pytest.raises(CommandError, match="no ESP8266 in its boot mode answers.*hold FLASH"):
            Loader(str(board.port), tell=told.append, by_hand_s=0.5)
        assert any("hold FLASH" in line for line in told)
        assert board.board.operations == 0


def test_a_port_that_another_program_has_open_is_named(blank):
    with serial.Serial(str(blank.port), exclusive=True):
        said = blank.flash_it(status=1)
    assert "is in use by another program" in one_error(said)


def test_a_port_that_is_not_there_is_named(blank):
    blank.adapter.unplug()
    assert "there is no port" in one_error(blank.flash_it(status=1))


def test_a_port_that_goes_away_half_way_is_told_and_the_run_can_be_repeated(blank):
    process = blank.start(
        "flash", "--firmware", blank.firmware, "--ssid", "garden", MPOTA_PASSWORD="x"
    )
    while blank.board.operations < 500:
        time.sleep(0.01)
    blank.adapter.unplug()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    line = one_error(said)
    assert "went away" in line
    assert "incomplete now and does not run; run the same command again" in line
    blank.adapter.plug()
    assert "is up at" in blank.flash_it(MPOTA_PASSWORD="x")


@pytest.mark.parametrize(
    "erase", [Loader.erase_all, lambda loader: loader.erase({0x10000: 0x1000})]
)
def test_a_port_that_goes_away_while_the_flash_is_erased_leaves_no_program(blank, erase):
    with Loader(str(blank.port), tell=lambda line: None) as loader:
        blank.adapter.unplug()
        with pytest.raises(CommandError, match="went away.*incomplete now and does not run"):
            erase(loader)


@pytest.mark.campaign
def test_power_that_is_lost_at_any_moment_leaves_a_board_that_can_be_flashed(
    tmp_path, campaign, record_property
):
    with SerialBoard(tmp_path) as board:
        set_up(str(board.port), job(), lambda _: SETTINGS, Report())
        operations = board.board.operations
    moments = campaign.sample("power in a flash run", range(30), 3)
    for moment in moments:
        folder = tmp_path / str(moment)
        folder.mkdir()
        cut = operations * moment // 30
        with SerialBoard(folder) as board:
            board.board.cut_power_after(cut)
            with pytest.raises(CommandError, match="run the same command again|run this again"):
                _flash_until_the_power_fails(board)
            assert board.board.power_failed, f"cut after {cut} operations"
            board.board.cut_power_after(None)
            board.adapter.plug()
            board.board.power_on()
            set_up(str(board.port), job(), lambda _: SETTINGS, Report())
            board.board.wait_for("app 1 runs")
            board.board.wait_for("listens on port")
    record_property("power lost in a flash run", f"{len(moments)}/{len(moments)} flashed again")


def _flash_until_the_power_fails(board):
    # The adapter loses its power together with the board.
    def unplug():
        board.board.wait_for_power_cut()
        board.adapter.unplug()

    plug = threading.Thread(target=unplug)
    plug.start()
    try:
        set_up(str(board.port), job(), lambda _: SETTINGS, Report())
    finally:
        plug.join()


# Boards and firmware that do not suit


@pytest.mark.parametrize(("mib", "size"), [(0.5, "512 KiB"), (1, "1 MiB")])
def test_a_flash_that_is_too_small_is_refused_before_anything_is_written(tmp_path, mib, size):
    with SerialBoard(tmp_path, mib=mib) as board:
        line = one_error(board.flash_it(status=1, MPOTA_PASSWORD="x"))
        assert f"has {size} of flash" in line
        assert "nothing was written" in line
        assert board.board.operations == 0


def test_another_chip_is_refused_before_anything_is_written(tmp_path):
    with SerialBoard(tmp_path, chip=Chip(MAC, 0x1640EF, magic=0x00F01D83)) as board:
        line = one_error(board.flash_it(status=1, MPOTA_PASSWORD="x"))
        assert "is an ESP32" in line
        assert "nothing was written" in line
        assert board.board.operations == 0


def test_an_unknown_flash_chip_is_refused_before_anything_is_written(tmp_path):
    with SerialBoard(tmp_path, chip=Chip(MAC, 0xFFFFFF)) as board:
        with pytest.raises(CommandError, match="unknown kind"):
            Loader(str(board.port), tell=lambda line: None)
        assert board.board.operations == 0


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.bin", FIRMWARE[:300000], "cut short"),
        ("esp32.bin", stand_in_firmware(segments=((0x3FFF0030, 64), (0x40078000, 64))), "ESP32"),
        ("sketch.bin", FIRMWARE[:0x8FFC].replace(b"MicroPython", b"x") + bytes(999), "Arduino"),
        ("plain.bin", stand_in_firmware(has_partition=False), "no ROMFS partition"),
    ],
    ids=["cut short", "ESP32", "Arduino", "no ROMFS"],
)
def test_a_wrong_firmware_file_is_refused_before_anything_is_written(blank, name, content, said):
    (blank.folder / name).write_bytes(content)
    line = one_error(blank.flash_it("--firmware", blank.folder / name, status=1))
    assert said in line
    assert name in line
    assert blank.board.operations == 0


def test_a_flash_chip_that_is_smaller_than_it_says_is_found_out(tmp_path):
    # Bytes that are written beyond the end of the flash overwrite its beginning.
    said = "flash at 0x0 does not hold what was written.*smaller than it claims"
    chip = Chip(MAC, 0x1640EF)
    with SerialBoard(tmp_path, mib=1, chip=chip) as board, pytest.raises(CommandError, match=said):
        set_up(str(board.port), job(), lambda _: SETTINGS, Report())


# The network


def test_a_network_that_refuses_the_key_is_told_with_what_to_do(blank):
    blank.board.refuse_key()
    line = one_error(blank.flash_it("--wait", 3, status=1, MPOTA_PASSWORD="x"))
    assert "the key is wrong" in line
    assert "mpota config set key" in line


def test_a_network_that_is_not_there_is_told_with_what_to_do(blank):
    blank.board.network = False
    line = one_error(blank.flash_it("--wait", 3, status=1, MPOTA_PASSWORD="x"))
    assert "garden: there is no such network" in line


def test_a_network_that_gives_no_address_is_told_with_what_to_do(tmp_path):
    with SerialBoard(tmp_path, join_s=60) as board:
        line = one_error(board.flash_it("--wait", 3, status=1, MPOTA_PASSWORD="x"))
        assert "got no address" in line


# Settings


def test_what_is_missing_is_asked_for_and_secrets_are_not_echoed(blank):
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "mpota", "flash", "--port", blank.port]
    with subprocess.Popen(
        [*command, "--firmware", blank.firmware],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        env=os.environ | {"TERM": "dumb"},
    ) as process:  # fmt: skip
        os.close(terminal)
        said = b""
        for question, answer in (
            (b"Wi-Fi network: ", b"garden\n"),
            (b"it is open): ", b"wifi-secret\n"),
            (b"Host name: ", b"valve\n"),
            (b"one is made): ", b"geheim7\n"),
            (b"valve is up at", b""),
        ):
            while question not in said:
                said += os.read(master, 4096)
            os.write(master, answer)
        with contextlib.suppress(OSError):  # the terminal is closed when the program ends
            while more := os.read(master, 4096):
                said += more
    os.close(master)
    assert process.returncode == 0
    assert b"wifi-secret" not in said
    assert b"geheim7" not in said
    blank.board.stop()
    settings = json.loads(read_flash(blank.flash)["/ota.json"])
    assert (settings["ssid"], settings["key"]) == ("garden", "wifi-secret")
    assert settings["hostname"] == "valve"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--hostname", "a b", "letters, digits and hyphens"),
        ("--hostname", "x" * 33, "letters, digits and hyphens"),
        ("--ssid", "x" * 33, "1 to 32 characters"),
        ("--key", "short12", "8 to 64 characters"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_written(blank, option, value, said):
    line = one_error(blank.flash_it(option, value, status=1))
    assert said in line
    assert blank.board.operations == 0
    if option == "--key":
        assert value not in line


def test_what_is_missing_is_named_where_nobody_can_be_asked(blank):
    said = blank.run("flash", "--firmware", blank.firmware, status=1)
    assert "no Wi-Fi network is given" in one_error(said)


def answers(monkeypatch, given, present, typed="", is_terminal=True):
    """Return the settings of a board that has *present*, and the questions that are answered."""
    asked = []

    def ask(question, *_, **options):
        asked.append((question.partition(" (")[0], options.get("hide_input", False)))
        return typed

    monkeypatch.setattr("typer.prompt", ask)
    monkeypatch.setattr("sys.stdin.isatty", lambda: is_terminal, raising=False)
    given = {"hostname": "valve", "password": "geheim7"} | given
    return flash_command._Answers(given, Report(), is_many=False).for_one(present), asked


def test_of_a_network_that_is_given_alone_the_key_is_asked_for_on_a_terminal(monkeypatch):
    garden, key = {"ssid": "garden"}, [("Key of the network", True)]
    wanted, asked = answers(monkeypatch, garden, {}, "wifi-secret")
    assert (wanted["key"], asked) == ("wifi-secret", key)
    wanted, asked = answers(monkeypatch, garden, {}, "")  # an open network
    assert "key" not in wanted and asked == key
    for options in ({"is_terminal": False}, {"given": garden | {"key": "wifi-secret"}}):
        _, asked = answers(monkeypatch, **{"given": garden, "present": {}} | options)
        assert asked == []


def test_the_key_on_the_board_is_that_of_its_own_network_alone(monkeypatch):
    present = {"ssid": "garden", "key": "wifi-secret"}
    for given in ({}, {"ssid": "garden"}):
        wanted, asked = answers(monkeypatch, given, present)
        assert (wanted["key"], asked) == ("wifi-secret", [])
    wanted, asked = answers(monkeypatch, {"ssid": "pond"}, present, "pond-secret")
    assert (wanted["ssid"], wanted["key"], len(asked)) == ("pond", "pond-secret", 1)
    wanted, _ = answers(monkeypatch, {"ssid": "pond"}, present, "")
    assert "key" not in wanted
    wanted, _ = answers(monkeypatch, {"ssid": "pond", "key": ""}, present)
    assert "key" not in wanted


# The firmware of the board stays (--keep-firmware)


@contextlib.contextmanager
def stock_board(folder, main=b""):
    """Yield a board that runs MicroPython with a ROMFS partition, and an application of its own."""
    with SerialBoard(folder) as board:
        with Loader(str(board.port), tell=lambda line: None) as loader:
            loader.write({0: FIRMWARE}, Report().progress)
            loader.start()
            board.board.wait_for("Performing initial setup")
            board.board.wait_for("help")
        files = {"/notes.txt": b"mine", "/data/table.bin": bytes(range(256))}
        prompt = Prompt(str(board.port), lambda line: None)
        prompt.write(files | ({"/main.py": main} if main else {}))
        prompt.reset()
        yield board


def test_the_firmware_and_the_application_s_files_can_stay(tmp_path):
    with stock_board(tmp_path, b"print('mine')") as board:
        said = board.run(
            "flash", "--keep-firmware", "--app", GARDEN / "1.0.0", "--ssid", "garden",
            MPOTA_PASSWORD="geheim7",
        )  # fmt: skip
        assert "the board's own /main.py is kept as /main.py.old" in said
        board.board.stop()
        files = read_flash(board.flash)
        assert files["/notes.txt"] == b"mine"
        assert files["/main.py.old"] == b"print('mine')"
        assert files["/data/table.bin"] == bytes(range(256))
        first = json.loads(files["/ota.json"])
        board.board.power_on()
        # Settings that are not given again stay as they are.
        said = board.run("flash", "--keep-firmware", "--hostname", "other")
        assert "other is up" in said
        assert "is kept as" not in said
        start = len(board.board.lines)
        arduino.upload(
            pack_directory(GARDEN / "2.0.0").data, board_ip=board.board.ip, password="geheim7"
        )
        board.board.wait_for("slot b on trial", start=start)
        board.board.stop()
        assert json.loads(read_flash(board.flash)["/ota.json"]) == first | {"hostname": "other"}


def test_no_boot_py_and_main_py_that_was_kept_is_lost_when_another_one_is():
    class Files:
        def read(self, sizes):
            return dict.fromkeys(sizes, b"mine")

    for there, kept in (
        (["/main.py"], ["/main.py.old"]),
        (["/main.py", "/main.py.old", "/main.py.old1"], ["/main.py.old2"]),
        (["/boot.py", "/boot.py.old", "/main.py"], ["/boot.py.old1", "/main.py.old"]),
    ):
        found = set_up_module._kept(Files(), dict.fromkeys(there, 4), Report())
        assert found == dict.fromkeys(kept, b"mine")


def test_damaged_settings_are_replaced_by_the_last_good_ones(tmp_path):
    with stock_board(tmp_path) as board:
        set_up(str(board.port), job(firmware=None), lambda _: SETTINGS, Report())
        copy = json.dumps(SETTINGS).encode()
        damaged = {"/ota.json": b"{", "/.ota/settings": copy}
        Prompt(str(board.port), lambda line: None).write(damaged)
        said = board.run("flash", "--keep-firmware", "--hostname", "mended")
        assert "the board's /ota.json is damaged" in said
        board.board.stop()
        settings = json.loads(read_flash(board.flash)["/ota.json"])
        assert settings.items() >= (SETTINGS | {"hostname": "mended"}).items()


@pytest.mark.parametrize(
    "main",
    [
        b"while True:\n    print('flood ' * 50)\n",
        b"while True:\n    pass\n",
        b"while True:\n    try:\n        while True:\n            print('never')\n"
        b"    except KeyboardInterrupt:\n        n = globals().get('n', 0) + 1\n"
        b"        if n > 3:\n            raise\n",
    ],
    ids=["floods", "busy", "wants four Ctrl-C"],
)
def test_an_application_that_is_busy_is_interrupted(tmp_path, main):
    with stock_board(tmp_path, main) as board:
        set_up(str(board.port), job(firmware=None), lambda _: SETTINGS, Report())
        board.board.wait_for("app 1 runs")


def test_a_build_without_romfs_cannot_stay():
    for kind, said in (
        (Kind("1.28.0", 6 | 3 << 8, 0x100000, 0), "without the ROMFS partition"),
        (Kind("1.20.0", 6 | 1 << 8, 0x100000, 327680), "another bytecode"),
    ):
        with pytest.raises(CommandError, match=said):
            set_up_module._check(kind)


def test_what_is_no_micropython_cannot_stay(blank, monkeypatch):
    # The blank board runs no program, so nothing answers Ctrl-C.
    told = []
    monkeypatch.setattr(prompt_module, "_INTERRUPT_S", 0.5)
    monkeypatch.setattr(prompt_module, "_BY_HAND_S", 0.5)
    with pytest.raises(CommandError, match="without --keep-firmware"):
        Prompt(str(blank.port), told.append).kind()
    assert any("press RST" in line for line in told)


# Many boards


def test_ten_boards_are_flashed_one_after_the_other(tmp_path):
    (tmp_path / "garden.toml").write_text(
        'ssid = "garden"\nkey = "wifi-secret"\nhostname = "valve"\npassword = "geheim7"\n'
        "confirm_s = 5\n"
    )
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text(SMALL_APP.format(version=1))
    (tmp_path / "app" / "pyproject.toml").write_text(
        '[tool.mpota]\nname = "small"\nversion = "1"\nsequence = 1\n'
    )
    with SerialBoard(tmp_path) as board:
        process = board.start(
            "flash", "--firmware", board.firmware, "--app", tmp_path / "app",
            "--settings", tmp_path / "garden.toml", "--count", 10,
        )  # fmt: skip
        said = []

        def wait_for(text):
            for line in process.stdout:
                said.append(line)
                if text in line:
                    return

        def exchange(size_bytes):
            board.adapter.unplug()
            board.board.stop()
            board.flash.write_bytes(b"\xff" * size_bytes)
            wait_for("waiting for the next board")
            board.adapter.plug()
            board.board.power_on()

        for number in range(1, 11):
            wait_for(f"{number} of 10: ")
            if number == 4:  # the next board has too little flash, and another one replaces it
                exchange(MIB)
                wait_for("5 of 10: FAILED")
            if number < 10:
                exchange(2 * MIB)
        assert process.wait(30) == 0
        process.stdout.close()
    results = [line for line in said if " of 10: " in line]
    assert [line.split()[3] for line in results if "FAILED" not in line] == [
        f"valve-{n:02d}" for n in range(1, 11)
    ]
    (failed,) = [line for line in results if "FAILED" in line]
    assert "1 MiB of flash" in failed
    assert "geheim7" not in "".join(said)
    assert "wifi-secret" not in "".join(said)
