"""The simulated board behaves as a real one does."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from boards import board_that_runs, board_with, own_ip, small_image
from mpota import sim
from mpota.errors import CommandError
from mpota.image.compile import compile_module
from mpota.sim import Board, board_process, boots, create_flash, read_flash, rom
from mpota.sim.address import check_address
from mpota.sim.board import (
    EXCEPTION,
    POWER_ON,
    SOFT_RESTART,
    SOFTWARE_WATCHDOG,
)
from mpota.sim.rom import ARCHITECTURE
from mpota.sim.rom_modules import control
from mpremote.romfs import VfsRomWriter


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("flash_erase(512); esp.flash_write(512 * 4096, b'abc')", "multiple of 4"),
        ("flash_write(4 * 1024 * 1024, bytes(4))", "outside the flash"),
        ("flash_write(-4, bytes(4))", "outside the flash"),
        ("flash_erase(1024)", "outside the flash"),
        ("flash_read(4 * 1024 * 1024 - 2, bytearray(4))", "outside the flash"),
        ("flash_write(512 * 4096, bytes(4)); esp.flash_write(512 * 4096, b'abcd')", "sets a bit"),
        ("flash_write(0xB0000, bytes(4)); esp.flash_write(0xB0000, b'abcd')", "sets a bit"),
        ("flash_write(0xFFFFC, bytes(4)); esp.flash_write(0xFFFFC, b'abcd')", "sets a bit"),
        ("flash_write(0xB0002, bytes(4))", "program: offset must be multiple of 4"),
        ("flash_read(0xB0001, bytearray(4))", "read: offset must be multiple of 4"),
        ("flash_read(0xB0002, 4)", "read: offset must be multiple of 4"),
        ("flash_read(0xB0000, bytearray(6))", "read: len must be multiple of 4"),
        ("flash_read(0xB0000, 3)", "read: len must be multiple of 4"),
        ("flash_write(0xB0000, memoryview(bytes(8))[2:6])", "program: buffer must be aligned"),
        ("flash_read(0xB0000, memoryview(bytearray(8))[1:5])", "read: buffer must be aligned"),
        ("flash_write(0xB0000, uctypes.bytearray_at(0x40200000, 4))", "buffer is in mapped flash"),
        ("flash_write(0xB0000, uctypes.bytearray_at(0x402FFFFC, 4))", "buffer is in mapped flash"),
    ],
)
def test_flash_refuses_and_counts_what_the_chip_would_not_do(tmp_path, call, complaint):
    script = f"""
import esp, uctypes
try:
    esp.{call}
except ValueError as e:
    print("refused", e)
"""
    with board_that_runs(tmp_path, script) as board:
        assert complaint in board.wait_for("^refused (.*)")[1]
        assert complaint in board.violation
        assert board.violations == 1


def test_every_violation_is_counted_and_the_first_is_told(tmp_path):
    script = """
import esp
for call in (lambda: esp.flash_erase(1024), lambda: esp.flash_write(1, bytes(4)),
             lambda: esp.flash_erase(512), lambda: esp.flash_read(-1, 4)):
    try:
        call()
    except ValueError:
        pass
print("done")
"""
    with board_that_runs(tmp_path, script) as board:
        assert (board.violations, board.violation) == (0, "")
        board.wait_for("^done$")
        assert board.violations == 3
        assert "erase outside" in board.violation


def test_an_erase_sets_a_whole_sector_and_a_program_clears_bits(tmp_path):
    script = """
import esp
esp.flash_erase(512)
esp.flash_write(512 * 4096 + 8, b"\\xf0\\xff\\x00\\xaa")
esp.flash_write(512 * 4096 + 8, b"\\xc0\\x0f\\x00\\x22")
print("read", esp.flash_read(512 * 4096 + 4, 12))
"""
    with board_that_runs(tmp_path, script) as board:
        read = board.wait_for("^read (.*)")[1]
        assert read == repr(b"\xff\xff\xff\xff\xc0\x0f\x00\x22\xff\xff\xff\xff")
        assert (board.operations, board.erases, board.violation) == (3, 1, "")


def test_flash_time_is_that_of_a_data_sheet_by_sectors_erased_and_pages_touched(tmp_path):
    script = """
import esp
print("mounted")
esp.flash_read(0, 4)
while esp.flash_read(512 * 4096, 4) == b"\\xff" * 4:
    for sector in (512, 513):
        esp.flash_erase(sector)
    esp.flash_write(512 * 4096, bytes(256))
    esp.flash_write(513 * 4096 + 252, bytes(8))
    esp.flash_write(513 * 4096 + 512, bytes(4))
    esp.flash_write(513 * 4096 + 516, bytes(4))
    esp.flash_write(513 * 4096 + 1020, bytes(1032))
print("done")
"""
    board = board_that_runs(tmp_path, script)
    assert board.flash_time_ms == 0
    with board:
        board.wait_for("^done$")
        assert (board.erases, board.pages) == (2, 1 + 2 + 1 + 1 + 6)
        assert board.flash_time_ms == pytest.approx(2 * 45 + 11 * 0.7)
        board.reset()
        board.wait_for("^done$", start=len(board.lines))
        assert board.pages == 11


def test_bytes_that_are_read_through_the_flash_controller_are_counted(tmp_path):
    script = """
import esp, uctypes
for _ in range(100):
    esp.flash_read(0, 4096)
    bytes(uctypes.bytearray_at(0x40200000, 4096))
print("done")
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^done$")
        file_system_bytes = board.read_bytes - 100 * 4096
        assert 0 < file_system_bytes < 16 * 4096


# The memory map


def test_the_first_mib_of_flash_is_in_memory_as_it_was_at_the_last_reset(tmp_path):
    script = """
import esp, machine, uctypes
mapped = uctypes.bytearray_at(0x40200000, 0x100000)
def tell(when):
    print(when, *[bytes(mapped[at : at + 4]) for at in (0, 0xCE000, 0xFFFFC)])
if machine.reset_cause() == 0:
    for at in (0, 0xCE000, 0xFFFFC):
        esp.flash_write(at, b"new!")
    print("read", esp.flash_read(0xCE000, 4))
    tell("stale")
    machine.reset()
tell("reset")
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for(r"^read b'new!'$")
        old = repr(b"\xff" * 4)
        assert board.wait_for("^stale (.*)")[1] == f"{old} {old} {old}"
        assert board.wait_for("^reset (.*)")[1] == "b'new!' b'new!' b'new!'"


def test_a_store_into_mapped_flash_ends_the_boot(tmp_path):
    script = """
import machine, uctypes
print("cause", machine.reset_cause())
if machine.reset_cause() == 0:
    uctypes.bytearray_at(0x402CE000, 4)[0] = 1
    print("stored")
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for(f"^cause {EXCEPTION}$")
        assert "stored" not in board.lines


def test_a_board_whose_memory_map_is_taken_says_so(tmp_path, monkeypatch):
    # The map must go to an address that is in use in every process.
    sources = tmp_path / "sim"
    shutil.copytree(Path(sim.__file__).parent, sources)
    flash_map = sources / "flash_map.py"
    taken = "control.MAPPED_AT = id(None) // 4096 * 4096\n\n\ndef map_flash"
    flash_map.write_text(flash_map.read_text().replace("def map_flash", taken))
    monkeypatch.setattr(board_process, "__file__", str(sources / "board_process.py"))
    board = board_that_runs(tmp_path, "")
    with board, pytest.raises(CommandError, match="start: the address 0x.* mapped flash is taken"):
        board.join()
    assert board.boots == 1


def test_a_file_system_that_is_damaged_is_told_and_nothing_runs(tmp_path):
    board = board_that_runs(tmp_path, "print('runs')")
    with board.flash.open("r+b") as flash:
        flash.seek(1024 * 1024)
        flash.write(bytes(8192))
    with board:
        board.wait_for("looks corrupt")
        board.reset()
        board.wait_for("looks corrupt", start=1)
        assert "runs" not in board.lines


def test_restarts_are_told_and_the_first_start_is_none(tmp_path):
    restarts = []
    script = "import machine\nprint('up')\nif not machine.reset_cause():\n machine.reset()\n"
    board = board_that_runs(tmp_path, script, on_restart=lambda: restarts.append(board.boots))
    with board:
        board.wait_for("^up$", start=1)
        assert restarts == [1]
    assert restarts == [1]


def with_rom(board, files, at=0xB0000):
    """Put a ROMFS with *files* into the flash of *board*."""
    writer = VfsRomWriter()
    for name, content in files.items():
        *folders, base = name.split("/")
        for folder in folders:
            writer.opendir(folder)
        writer.mkfile(base, content)
        for _ in folders:
            writer.closedir()
    with board.flash.open("r+b") as flash:
        flash.seek(at)
        flash.write(writer.finalise())
    return board


def test_a_rom_in_the_partition_is_mounted_before_boot_and_runs_in_place(tmp_path):
    code = compile_module(
        "DATA = b'bytes of flash that nobody copies'\n", "/rom/lib/there.mpy", ARCHITECTURE
    )
    script = """
import sys, uctypes, there
print("path", sys.path)
print("in place", 0x402B0000 <= uctypes.addressof(there.DATA) < 0x40300000)
print("note", open("/rom/note.txt").read())
"""
    create_flash(tmp_path / "flash.img", {"/boot.py": script.encode()})
    board = Board(tmp_path / "flash.img", ip=own_ip())
    with with_rom(board, {"lib/there.mpy": code, "note.txt": b"hello"}):
        path = ["", ".frozen", "/rom", "/rom/lib", "/lib", "/"]
        assert board.wait_for("^path (.*)")[1] == repr(path)
        board.wait_for("^in place True$")
        board.wait_for("^note hello$")


@pytest.mark.parametrize(
    "begins", [b"", b"\xd2\xcd\x30\x04\x01\x00", b"\xd2\xcd\x31\xff\xff\xff\x7f"]
)
def test_without_a_good_rom_in_the_partition_there_is_none_on_the_path(tmp_path, begins):
    board = board_that_runs(tmp_path, "import os, sys\nprint('path', sys.path, os.listdir('/'))\n")
    with board.flash.open("r+b") as flash:
        flash.seek(0xB0000)
        flash.write(begins)
    with board:
        said = board.wait_for("^path (.*)")[1]
        assert said == "['', '.frozen', '/lib', '/'] ['main.py']"


def test_an_image_in_a_slot_can_be_mounted_and_runs_in_place(tmp_path):
    code = compile_module(
        "def where():\n    return b'bytes of flash that nobody copies'\n",
        "/app/app.mpy",
        ARCHITECTURE,
    )
    script = """
import os, sys, uctypes, vfs
vfs.mount(vfs.VfsRom(uctypes.bytearray_at(0x402CE000, 0x19000)), "/app")
sys.path.insert(0, "/app")
import app
print("slot", os.listdir("/app"), 0 < uctypes.addressof(app.where()) - 0x402CE000 < 0x19000)
"""
    board = board_that_runs(tmp_path, script)
    with with_rom(board, {"app.mpy": code}, at=0xCE000):
        board.wait_for(r"^slot \['app.mpy'\] True$")


# Modules


def test_an_application_may_shadow_what_it_may_shadow_on_the_chip_and_nothing_else(tmp_path):
    names = ("machine", "socket", "hashlib", "time", "esp", "network", "vfs", "gc", "micropython")
    script = f"""
import umachine, usocket, uhashlib, utime
for name in {names}:
    module = __import__(name)
    print(name, "shadowed" if hasattr(module, "SHADOW") else "own")
import umachine, usocket, uhashlib, utime
print("builtin", [hasattr(m, "SHADOW") for m in (umachine, usocket, uhashlib, utime)])
print("ours", umachine.Timer, usocket.AF_INET, hasattr(uhashlib, "md5"))
"""
    files = {f"/lib/{name}.py": b"SHADOW = True\n" for name in names}
    create_flash(tmp_path / "flash.img", files | {"/main.py": script.encode()})
    with Board(tmp_path / "flash.img", ip=own_ip()) as board:
        board.wait_for("^ours <class 'Timer'> 2 False$")
        found = dict(line.split() for line in board.lines if line.split()[0] in names)
        assert found == dict.fromkeys(names[:4], "shadowed") | dict.fromkeys(names[4:], "own")
        assert "builtin [False, False, False, False]" in board.lines


def test_without_a_shadow_the_names_with_a_u_and_without_are_one_module(tmp_path):
    script = """
import esp, machine, network, socket, hashlib, umachine, usocket, uhashlib, sys
print("one", machine is umachine, socket is usocket, hashlib is uhashlib)
print("board", machine.Timer, hasattr(hashlib, "md5"), socket.TCP_NODELAY, sorted(sys.modules))
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^one True True True$")
        # sys.modules does not contain built-in modules. The frozen _boot.py has loaded flashbdev.
        board.wait_for(r"^board <class 'Timer'> False 1 \['flashbdev'\]$")


def test_the_simulator_s_own_modules_are_no_application_s(tmp_path):
    names = [path.stem for path in rom.SOURCES.glob("*.py") if path.stem != "__init__"]
    built_in = {"esp", "flashbdev", "hashlib", "machine", "network", "socket"}
    names = sorted(set(names) - built_in)
    script = f"""
for name in {names}:
    try:
        __import__(name)
        print("there is", name)
    except ImportError:
        pass
import os
print("done", os.listdir("/"))
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for(r"^done \['main.py'\]$")
        assert len(names) > 5
        assert not [line for line in board.lines if "there is" in line]


def test_rtc_memory_survives_a_reset_and_not_a_power_cut(tmp_path):
    script = """
import machine
print("cause", machine.reset_cause(), machine.RTC().memory() if machine.reset_cause() else "")
if machine.reset_cause() == 0:
    machine.RTC().memory(b"kept")
    machine.mem32[0x600013FC] = 77
    machine.reset()
print("word", machine.mem32[0x600013FC])
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for(f"^cause {POWER_ON} ")
        board.wait_for(f"^cause {SOFT_RESTART} b'kept'")
        board.wait_for("^word 77$")
        board.power_off()
        board.power_on()
        board.wait_for(f"^cause {POWER_ON} ", start=3)


def test_rtc_memory_is_empty_after_a_power_cut(tmp_path):
    script = """
import machine
print("rtc", machine.RTC().memory())
machine.RTC().memory(b"x")
print("kept")
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^rtc b''$")
        board.wait_for("^kept$")
        board.reset()
        board.wait_for("^rtc b'x'$")
        board.power_off()
        said = len(board.lines)
        board.power_on()
        board.wait_for("^rtc b''$", start=said)


def test_a_watchdog_that_is_not_fed_resets_the_board(tmp_path):
    script = """
import machine, time
print("cause", machine.reset_cause())
if machine.reset_cause() == 0:
    watchdog = machine.WDT()
    for _ in range(10):
        time.sleep_ms(100)
        watchdog.feed()
    print("fed")
    while True:
        pass
"""
    with board_that_runs(tmp_path, script, watchdog_ms=500) as board:
        board.wait_for("^fed$")
        board.wait_for("^watchdog reset$")
        board.wait_for(f"^cause {SOFTWARE_WATCHDOG}$")


@pytest.mark.parametrize(("call", "waits_ms"), [("pass", 0), ("machine.WDT()", 5000)])
def test_the_watchdog_is_off_until_it_is_started_and_then_waits_5_s(tmp_path, call, waits_ms):
    with board_that_runs(tmp_path, f"import machine\n{call}\nprint('runs')\n") as board:
        board.wait_for("^runs$")
        assert board.control[control.WATCHDOG] == waits_ms


def test_the_watchdog_takes_no_other_timeout(tmp_path):
    script = "import machine\ntry:\n machine.WDT(timeout=3000)\nexcept ValueError:\n print('no')\n"
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^no$")
        assert board.control[control.WATCHDOG] == 0


def test_a_board_has_an_id_a_frequency_and_a_mac_address_of_the_chip_s_shape(tmp_path):
    script = """
import machine, network
print("id", machine.unique_id())
print("mac", network.WLAN(network.WLAN.IF_STA).config("mac"))
print("ap mac", network.WLAN(network.WLAN.IF_AP).config("mac"))
print("freq", machine.freq())
machine.freq(160000000)
print("freq", machine.freq())
try:
    machine.freq(40000000)
except ValueError:
    print("freq refused")
"""
    with board_that_runs(tmp_path, script) as board:
        chip = int(board.ip.rpartition(".")[2])  # boards on one computer differ in it
        assert board.wait_for("^id (.*)")[1] == repr(bytes((chip, 0xFF, 0xC0, 0)))
        assert board.wait_for("^mac (.*)")[1] == repr(b"\x5c\xcf\x7f\xc0\xff" + bytes((chip,)))
        assert board.wait_for("^ap mac (.*)")[1] == repr(b"\x5e\xcf\x7f\xc0\xff" + bytes((chip,)))
        board.wait_for("^freq refused$")
        assert [x for x in board.lines if x[:5] == "freq "][:2] == [
            "freq 80000000",
            "freq 160000000",
        ]


def test_a_station_has_an_address_when_it_has_joined_a_network_that_is_in_reach(tmp_path):
    script = """
import network, time
station = network.WLAN(network.WLAN.IF_STA)
def tell(when):
    print(when, station.isconnected(), *station.ifconfig())
tell("off")
station.active(True)
tell("idle")
station.connect("simulated", "key")
tell("joined")
while station.isconnected():
    time.sleep_ms(5)
tell("lost")
"""
    nowhere = "False 0.0.0.0 0.0.0.0 0.0.0.0 0.0.0.0"
    with board_that_runs(tmp_path, script) as board:
        assert board.wait_for("^off (.*)")[1] == nowhere
        assert board.wait_for("^idle (.*)")[1] == nowhere
        assert board.wait_for("^joined (.*)")[1].startswith(f"True {board.ip} 255.0.0.0 ")
        board.network = False
        assert board.wait_for("^lost (.*)")[1] == nowhere


def test_joining_a_network_takes_as_long_as_was_asked_for(tmp_path):
    script = """
import network, time
station = network.WLAN(network.WLAN.IF_STA)
station.active(True)
station.connect("simulated", "key")
begun = time.ticks_ms()
print("joining", station.isconnected(), station.status() == network.STAT_CONNECTING)
while not station.isconnected():
    time.sleep_ms(5)
print("joined after", time.ticks_diff(time.ticks_ms(), begun))
"""
    with board_that_runs(tmp_path, script, join_s=0.4) as board:
        board.wait_for("^joining False True$")
        assert int(board.wait_for(r"^joined after (\d+)")[1]) >= 395


def test_the_name_of_a_network_may_be_text_or_bytes_of_32_at_most(tmp_path):
    script = """
import network
station, point = network.WLAN(0), network.WLAN(1)
station.connect(b"roses", b"key")
point.config(ssid="garden" * 6)
print("names", station.config("ssid"), point.config("ssid"))
"""
    with board_that_runs(tmp_path, script) as board:
        assert board.wait_for("^names (.*)")[1] == "roses " + ("garden" * 6)[:32]


def test_the_host_name_is_kept_and_one_that_is_too_long_refused(tmp_path):
    script = """
import network
print("name", network.hostname())
network.hostname("v" * 32)
print("name", network.hostname(), network.WLAN(network.WLAN.IF_STA).config("hostname"))
for name in ("", "v" * 33):
    try:
        network.hostname(name)
    except ValueError:
        print("refused", len(name))
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^name MPY-ESP8266$")
        board.wait_for(f"^name {'v' * 32} {'v' * 32}$")
        board.wait_for("^refused 0$")
        board.wait_for("^refused 33$")


def test_pins_keep_their_level(tmp_path):
    script = """
from machine import Pin
valve = Pin(5, Pin.OUT, value=1)
print("valve", valve.value(), valve(), Pin(5).value())
valve.off()
print("shut", valve.value(), Pin(5).value())
valve(1)
print("open", valve.value())
print("button", Pin(0, Pin.IN, Pin.PULL_UP).value(), "bare", Pin(4, Pin.IN).value())
try:
    Pin(17)
except ValueError:
    print("no pin 17")
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^no pin 17$")
        for line in ("valve 1 1 1", "shut 0 0", "open 1", "button 1 bare 0"):
            assert line in board.lines


def test_the_access_point_that_a_new_board_opens_is_off_when_the_services_have_started(tmp_path):
    tell = "print('access point', network.WLAN(network.WLAN.IF_AP).active())\n"
    with board_that_runs(tmp_path, f"import network\n{tell}") as board:
        board.wait_for("^access point True$")
    app = f"import network\n\ndef main(ota):\n    {tell}".encode()
    with board_with(tmp_path, small_image("1", 1, {"app.py": app})) as board:
        assert board.wait_for("^access point (.*)")[1] == "False"


def test_what_the_keeper_fails_with_reaches_who_waits_at_once(tmp_path):
    def fail(line):
        raise RuntimeError(f"no room for {line}")

    board = board_that_runs(tmp_path, "print('a line')\nwhile True:\n pass\n", on_line=fail)
    begun = time.monotonic()
    with board:
        for wait in (lambda: board.wait_for("more"), board.join, board.wait_for_power_cut):
            with pytest.raises(RuntimeError, match="no room for a line"):
                wait()
    assert time.monotonic() - begun < 10  # the calls did not wait for their full 30 s or 60 s
    assert not board.is_on


# This script runs in a process of its own, since it would harm what other tests start meanwhile.
_CHANGING_ENVIRONMENT = """
import os, sys, threading
from pathlib import Path
from mpota.sim import Board, boots

def change():
    while True:
        for n in range(200):
            os.environ[f"CHANGED_{n}"] = "x" * n
        for n in range(200):
            del os.environ[f"CHANGED_{n}"]

threading.Thread(target=change, daemon=True).start()
for _ in range(8):
    boots._server.cache_clear()  # so that the process of which boots are copies starts anew
    with Board(Path(sys.argv[1]), ip=sys.argv[2]) as board:
        board.wait_for("^up$")
"""


def test_boards_start_while_the_environment_changes(tmp_path):
    create_flash(tmp_path / "flash.img", {"/main.py": b"print('up')"})
    command = [sys.executable, "-c", _CHANGING_ENVIRONMENT, tmp_path / "flash.img", own_ip()]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_that_the_process_which_starts_boards_has_ended_is_said_in_words():
    server = boots._Server(Path(board_process.__file__).with_name("boot_server.py"))
    server._process.kill()
    server._process.wait()
    for _ in range(2):
        with pytest.raises(CommandError, match="starts boards has ended: run the command again"):
            server.ask(["wait", "1"])


_STARTING = """
import sys
from pathlib import Path
from mpota.sim import Board

with Board(Path(sys.argv[1]), ip=sys.argv[2]) as board:
    board.wait_for("^up$")
    print("up", flush=True)
    input()
"""


def test_a_board_ends_with_the_process_that_started_it(tmp_path):
    ip = own_ip()
    script = """
import network, socket
network.WLAN(network.STA_IF).active(True)
network.WLAN(network.STA_IF).connect("simulated", "")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 8266))
print("up")
s.recvfrom(1)
"""
    create_flash(tmp_path / "flash.img", {"/main.py": script.encode()})
    command = [sys.executable, "-c", _STARTING, tmp_path / "flash.img", ip]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        with pytest.raises(CommandError, match="is taken"):
            check_address(ip)
        process.kill()
    deadline = time.monotonic() + 30
    while True:
        try:
            check_address(ip)
        except CommandError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            break


def test_a_reset_runs_nothing_more_of_the_program(tmp_path):
    script = """
import machine
try:
    if machine.reset_cause() == 0:
        machine.reset()
finally:
    print("after", machine.reset_cause())
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for(f"^after {SOFT_RESTART}$")
        assert f"after {POWER_ON}" not in board.lines


def test_main_does_not_run_after_a_boot_script_that_raised(tmp_path):
    create_flash(tmp_path / "flash.img", {"/boot.py": b"1/0", "/main.py": b"print('main')"})
    with Board(tmp_path / "flash.img", ip=own_ip(), scripts=("boot.py", "main.py", "x.py")) as b:
        b.wait_for("ZeroDivisionError")
        b.power_off()
        assert "main" not in b.lines


def test_the_power_goes_before_the_operation_that_was_named(tmp_path):
    script = "import esp\nfor n in range(9):\n esp.flash_erase(512 + n)\n print('erased', n)\n"
    board = board_that_runs(tmp_path, script)
    board.cut_power_after(4)
    board.power_on()
    assert board.wait_for_power_cut()
    assert [line for line in board.lines if "erased" in line][-1] == "erased 3"
    assert board.operations == 4


def test_sockets_have_the_board_s_address_and_lwip_s_shape(tmp_path):
    script = """
import network, socket
network.WLAN(network.STA_IF).active(True)
network.WLAN(network.STA_IF).connect("simulated", "")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 8266))
print("lacks", [n for n in ("recv_into", "getsockname", "shutdown") if hasattr(s, n)])
print("waiting")
data, address = s.recvfrom(100)
s.sendto(data, address)
t = socket.socket()
t.connect(socket.getaddrinfo(*address)[0][-1][:1] + (int(data),))
t.send(b"hello")
"""
    with board_that_runs(tmp_path, script) as board, socket.create_server(("127.0.0.1", 0)) as host:
        board.wait_for(r"^lacks \[\]$")
        board.wait_for("^waiting$")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            udp.settimeout(10)
            port = str(host.getsockname()[1]).encode()
            udp.sendto(port, (board.ip, 8266))
            assert udp.recvfrom(100) == (port, (board.ip, 8266))
        host.settimeout(10)
        connection, address = host.accept()
        with connection:
            assert address[0] == board.ip
            assert connection.recv(10) == b"hello"


def bare_interpreter(script, heap="56k"):
    """Return the lines that *script* prints in the interpreter alone."""
    command = [sys.executable, "-m", "micropython_unix", "-X", f"heapsize={heap}", "-c", script]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("heap", ["32k", "56k", "1m"])
def test_a_board_s_code_finds_as_much_free_heap_as_in_a_bare_interpreter(tmp_path, heap):
    script = "import gc\ngc.collect()\nprint('free', gc.mem_free())\n"
    bare = int(bare_interpreter(script, heap)[0].split()[1])
    create_flash(tmp_path / "flash.img", {"/boot.py": script.encode()})
    with Board(tmp_path / "flash.img", ip=own_ip(), heap=heap) as board:
        assert abs(int(board.wait_for(r"^free (\d+)")[1]) - bare) <= 128


def test_names_take_as_much_heap_as_in_a_bare_interpreter(tmp_path):
    # The interpreter's table of names grows in ever larger pieces. The simulator's own names must
    # not take any of the heap.
    script = """
import gc
for i in range(9):
    exec(" = ".join(["name_%d_%d" % (i, j) for j in range(20)]) + " = 0", {})
    gc.collect()
    print("free", gc.mem_free())
print("done")
"""
    bare = [int(line.split()[1]) for line in bare_interpreter(script)[:-1]]
    create_flash(tmp_path / "flash.img", {"/boot.py": script.encode()})
    with Board(tmp_path / "flash.img", ip=own_ip()) as board:
        board.wait_for("^done$")
        found = [int(line.split()[1]) for line in board.lines if line.startswith("free")]
    assert len(found) == 9
    assert bare[0] - bare[-1] > 9 * 20 * 11
    for here, there in zip(found, bare, strict=True):
        assert abs(here - there) <= 128


def test_poll_tells_of_every_socket_that_is_ready(tmp_path):
    script = """
import network, select, socket
station = network.WLAN(network.WLAN.IF_STA)
station.active(True)
station.connect("simulated", "")
poll = select.poll()
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
for port, each in enumerate(sockets, 7001):
    each.bind(("", port))
    poll.register(each, select.POLLIN)
sockets[2].sendto(b"x", (station.ifconfig()[0], 7001))
sockets[2].sendto(b"x", (station.ifconfig()[0], 7002))
ready = poll.poll(1000)
print("ready", sorted([sockets.index(each) for each, events in ready if events == select.POLLIN]))
"""
    with board_that_runs(tmp_path, script) as board:
        assert board.wait_for("^ready (.*)")[1] == "[0, 1]"


def test_time_can_be_imported_with_a_star(tmp_path):
    script = "from time import *\nsleep_ms(1)\nprint('slept', ticks_diff(ticks_ms(), 0) > 0)\n"
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^slept True$")


@pytest.mark.parametrize(
    "wait",
    [
        "time.sleep(100)",
        "time.sleep_ms(100000)",
        "poll.poll()",
        "poll.poll(100000)",
        "time.ticks_ms()",
        "sum([1, 2])",
    ],
)
def test_a_timer_calls_back_whatever_the_program_does(tmp_path, wait):
    script = f"""
import machine, network, select, socket, time
network.WLAN(network.STA_IF).active(True)
network.WLAN(network.STA_IF).connect("simulated", "")
waits_for = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
waits_for.bind(("", 7001))
poll = select.poll()
poll.register(waits_for, select.POLLIN)
timer = machine.Timer(-1)
timer.init(period=20, mode=machine.Timer.PERIODIC, callback=lambda t: print("tick", t is timer))
while True:
    {wait}
"""
    with board_that_runs(tmp_path, script) as board:
        for start in range(3):
            board.wait_for("^tick True$", start=start)


def test_a_timer_can_be_told_to_call_once_and_to_stop(tmp_path):
    script = """
import machine, time
calls = []
def count(timer):
    calls.append("three")
    if calls.count("three") == 3:
        timer.deinit()
once, stopped, three = [machine.Timer(-1) for _ in range(3)]
once.init(period=1, mode=machine.Timer.ONE_SHOT, callback=lambda t: calls.append("once"))
stopped.init(period=1, callback=lambda t: calls.append("stopped"))
stopped.deinit()
three.init(freq=100, callback=count)
while calls.count("three") < 3:
    time.sleep_ms(1)
time.sleep_ms(50)
print("calls", sorted(calls))
"""
    with board_that_runs(tmp_path, script) as board:
        said = board.wait_for("^calls (.*)")[1]
        assert said == "['once', 'three', 'three', 'three']"


def test_a_timer_that_is_just_calling_can_be_stopped(tmp_path):
    script = """
import machine, time
timer = machine.Timer(-1)
for _ in range(500):
    timer.init(period=1, mode=machine.Timer.ONE_SHOT, callback=lambda t: None)
    time.sleep_us(1000)
    timer.deinit()
print("stopped")
"""
    with board_that_runs(tmp_path, script) as board:
        assert board.wait_for("^stopped$|Error")[0] == "stopped"


def test_waits_are_as_long_as_they_were_to_be_though_timers_go_on(tmp_path):
    script = """
import machine, network, select, socket, time
network.WLAN(network.STA_IF).active(True)
network.WLAN(network.STA_IF).connect("simulated", "")
ticks = []
machine.Timer(-1).init(period=20, callback=ticks.append)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7001))
s.settimeout(0.3)
poll = select.poll()
poll.register(s, select.POLLIN)
def receive():
    try:
        s.recvfrom(10)
    except OSError:
        pass
for wait in (lambda: time.sleep(0.3), lambda: time.sleep_ms(300), lambda: poll.poll(300), receive):
    begun = time.ticks_ms()
    wait()
    print("waited", time.ticks_diff(time.ticks_ms(), begun))
print("ticks", len(ticks))
"""
    with board_that_runs(tmp_path, script) as board:
        assert int(board.wait_for(r"^ticks (\d+)")[1]) >= 3
        waits_ms = [int(line.split()[1]) for line in board.lines if line.startswith("waited")]
        assert len(waits_ms) == 4
        assert min(waits_ms) >= 290


def test_a_timer_s_call_finds_the_flash_and_the_firmware_at_rest(tmp_path):
    script = """
import machine, network
names = ["/%d.txt" % i for i in range(6)]
for i, name in enumerate(names):
    with open(name, "w") as file:
        file.write(str(i) * 900)
wrong = []
calls = []
def holds(i):
    with open(names[i]) as file:
        return file.read() == str(i) * 900
def in_between(timer):
    calls.append(network.WLAN(0).status())
    wrong.extend([i for i in (5,) if not holds(i)])
machine.Timer(-1).init(period=10, callback=in_between)
station = network.WLAN(0)
while len(calls) < 60:
    station.ifconfig()
    wrong.extend([i for i in range(5) if not holds(i)])
print("wrong", wrong)
"""
    with board_that_runs(tmp_path, script) as board:
        assert board.wait_for("^wrong (.*)|Error")[1] == "[]"
        assert not any("Error" in line for line in board.lines)


def test_timers_go_on_after_the_queue_of_calls_was_full(tmp_path):
    script = """
import machine, micropython, time
ticks = []
machine.Timer(-1).init(period=10, callback=ticks.append)
until = time.ticks_add(time.ticks_ms(), 200)
while time.ticks_diff(until, time.ticks_ms()) > 0:
    try:
        while True:
            micropython.schedule(lambda _: None, None)
    except RuntimeError:
        pass
seen = len(ticks)
while len(ticks) < seen + 5:
    time.sleep_ms(1)
print("they go on")
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^they go on$")


def test_asyncio_streams_work_over_the_board_s_sockets(tmp_path):
    script = """
import asyncio, network
network.WLAN(network.STA_IF).active(True)
network.WLAN(network.STA_IF).connect("simulated", "")
async def serve(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()
async def main():
    await asyncio.start_server(serve, "0.0.0.0", 8080)
    print("serving")
    await asyncio.sleep(30)
asyncio.run(main())
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^serving$")
        with socket.create_connection((board.ip, 8080), timeout=10) as client:
            client.sendall(b"water the roses\n")
            assert client.recv(100) == b"WATER THE ROSES\n"


def test_files_come_back_from_a_flash_image_as_they_went_in(tmp_path):
    files = {"/a.txt": b"a", "/lib/deep/er/b.bin": bytes(range(256)) * 50, "/empty": b""}
    create_flash(tmp_path / "flash.img", files)
    assert read_flash(tmp_path / "flash.img") == files


def test_a_file_that_is_no_flash_image_is_named_with_a_remedy(tmp_path):
    (tmp_path / "x.img").write_bytes(b"not a flash")
    with pytest.raises(CommandError, match="not a flash image"):
        read_flash(tmp_path / "x.img")
    (tmp_path / "y.img").write_bytes(small_image("1", 1).ljust(4 * 1024 * 1024, b"\0"))
    with pytest.raises(CommandError, match="holds no littlefs: delete it to make a new one"):
        read_flash(tmp_path / "y.img")


def test_uname_is_the_chips(tmp_path):
    script = "import os, uos\nprint('uname', os.uname().sysname, uos.uname().release)"
    with board_that_runs(tmp_path, script) as board:
        assert board.wait_for("^uname (.*)")[1].startswith("esp8266 2.")
