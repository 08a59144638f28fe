"""The serial port of the simulated board: its console as mpremote finds it, and the boot ROM."""

import os
import subprocess
import sys
import time

import pytest
import serial
from boards import own_ip
from mpota.board.flash import create_flash
from mpota.sim import Board
from mpota.sim.serial_port import SerialPort

BOOT = b"print('boot runs')\n"
MAIN = b"""
import time
print("main runs")
while True:
    time.sleep_ms(20)
"""


class Console:
    """A board on a pseudo-terminal, and mpremote's command line."""

    def __init__(self, folder, main=MAIN, **options):
        create_flash(folder / "flash.img", {"/boot.py": BOOT, "/main.py": main})
        self.port = SerialPort(folder / "tty")
        self.board = Board(folder / "flash.img", ip=own_ip(), port=self.port, **options)

    def __enter__(self):
        self.board.power_on()
        return self

    def __exit__(self, *_):
        self.board.stop()
        self.port.close()

    def mpremote(self, *arguments, check=True):
        """Run mpremote and return what it says."""
        return self._run("mpremote", "connect", self.port.name, *arguments, check=check)

    def esptool(self, *arguments):
        return self._run("esptool", "--port", self.port.name, *arguments)

    @staticmethod
    def _run(module, *arguments, check=True):
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=check,
        )  # fmt: skip
        return done.stdout


@pytest.fixture
def console(tmp_path):
    with Console(tmp_path) as console:
        console.board.wait_for("main runs")
        yield console


def test_mpremote_interrupts_the_program_and_runs_another(console, tmp_path):
    assert console.mpremote("exec", "print(6 * 7)") == "42\n"
    # As on the chip, boot.py has run again and main.py has not.
    assert console.board.lines.count("boot runs") == 2
    assert console.board.lines.count("main runs") == 1
    (tmp_path / "program.py").write_text("import esp\nprint(esp.flash_size())\n1 / 0\n")
    said = console.mpremote("resume", "run", tmp_path / "program.py", check=False)
    assert said.startswith("4194304\n")
    assert "ZeroDivisionError" in said


def test_mpremote_copies_lists_shows_and_removes_files(console, tmp_path):
    content = bytes(range(256)) * 12
    (tmp_path / "there.bin").write_bytes(content)
    console.mpremote("fs", "cp", tmp_path / "there.bin", ":/data.bin")
    assert "3072 data.bin" in console.mpremote("fs", "ls")
    console.mpremote("fs", "cp", ":/data.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == content
    assert console.mpremote("fs", "cat", ":/boot.py") == BOOT.decode()
    console.mpremote("fs", "rm", ":/data.bin")
    assert "data.bin" not in console.mpremote("fs", "ls")


def test_modules_of_the_firmware_outlive_the_start_of_the_board(console):
    program = "import gc\ngc.collect()\nimport hashlib, machine, network, socket, esp, vfs\n"
    program += "print(len(hashlib.sha256(b'').digest()), len(vfs.rom_ioctl(2, 0)))"
    assert console.mpremote("exec", program) == "32 327680\n"


def test_mpremote_resets_the_board(console):
    said = len(console.board.lines)
    console.mpremote("reset")
    console.board.wait_for("main runs", start=said)


def test_a_program_that_floods_the_console_is_interrupted(tmp_path):
    with Console(tmp_path, b"while True:\n    print('flood ' * 20)\n") as console:
        console.board.wait_for("flood")
        with serial.Serial(console.port.name, 115200, timeout=1) as port:
            port.write(b"\r\x03")
            console.board.wait_for("KeyboardInterrupt")
            _until_quiet(port)
        assert console.mpremote("exec", "print('calm')") == "calm\n"


def test_ctrl_c_ends_a_wait_and_is_a_key_like_others_at_the_prompt(tmp_path):
    main = b"""
import select, socket, sys
import time
for wait in (lambda: time.sleep(60), socket.socket().accept):
    try:
        print("waits")
        wait()
    except KeyboardInterrupt:
        print("interrupted")
    except OSError:
        pass
"""
    with Console(tmp_path, main) as console, serial.Serial(console.port.name, 115200) as port:
        console.board.wait_for("waits")
        port.write(b"\x03")
        console.board.wait_for("interrupted")
        console.board.wait_for(">>> |help")
        port.write(b"\x03\x03\x03print(1 + 1)\r")
        console.board.wait_for("^2$")
        assert console.board.boots == 1


def test_lines_end_on_the_port_as_the_chip_sends_them(tmp_path):
    with Console(tmp_path) as console, serial.Serial(console.port.name, timeout=10) as port:
        assert port.read_until(b"main runs\r\n").endswith(b"boot runs\r\nmain runs\r\n")


def test_ctrl_d_at_the_prompt_is_a_soft_reset(console):
    with serial.Serial(console.port.name, timeout=10) as port:
        port.write(b"\x03")
        console.board.wait_for("KeyboardInterrupt")
        said = len(console.board.lines)
        port.write(b"\x04")
        assert port.read_until(b"MPY: soft reboot\r\n").endswith(b"MPY: soft reboot\r\n")
        assert port.read_until(b"main runs").endswith(b"main runs")
    console.board.wait_for("MPY: soft reboot", start=said)


def test_without_anyone_at_the_port_the_board_just_runs(tmp_path):
    main = b"for i in range(20000):\n    print('line', i)\nprint('done')\n"
    with Console(tmp_path, main) as console:
        console.board.wait_for("done")


def test_a_program_that_reads_nothing_does_not_hold_up_the_board(tmp_path):
    main = b"for i in range(60000):\n    print('line', i)\nprint('done')\n"
    with Console(tmp_path, main) as console, serial.Serial(console.port.name):
        console.board.wait_for("done")


def test_esptool_takes_the_board_into_its_boot_mode_and_it_starts_when_the_port_is_closed(console):
    said = len(console.board.lines)
    assert "Detected flash size: 4MB" in console.esptool("flash-id")
    console.board.wait_for("main runs", start=said)


def test_held_in_boot_mode_at_power_on_the_board_waits_for_esptool(tmp_path):
    with Console(tmp_path, boot_mode=True) as console:
        for _ in range(2):  # opening the port alone does not start the board
            os.close(os.open(console.port.name, os.O_RDWR | os.O_NOCTTY))
        time.sleep(0.2)
        assert console.board.boots == 0
        console.esptool("read-mac")
        console.board.wait_for("main runs")


def test_mpota_sim_gives_a_blank_board_a_serial_port(tmp_path):
    flash = tmp_path / "new.img"
    command = [sys.executable, "-m", "mpota", "sim", "--serial", "--boot-mode", "--ip", own_ip()]
    with subprocess.Popen(
        [*command, "--flash", flash], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as sim:  # fmt: skip
        assert sim.stdout is not None
        port = next(line.split()[-1] for line in sim.stdout if "serial port" in line)
        assert flash.read_bytes() == b"\xff" * 4 * 1024 * 1024
        assert "Detected flash size: 4MB" in Console._run("esptool", "--port", port, "flash-id")
        # The flash still holds no program to start.
        assert any("boot mode:(3,6)" in line for line in sim.stdout)
        sim.terminate()


def test_boot_mode_needs_a_serial_port(tmp_path):
    command = [sys.executable, "-m", "mpota", "sim", "--boot-mode", "--flash", tmp_path / "x.img"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "give --serial as well" in done.stderr


def test_power_can_fail_in_boot_mode(tmp_path):
    (tmp_path / "data.bin").write_bytes(os.urandom(50000))
    with Console(tmp_path) as console:
        console.board.wait_for("main runs")
        console.board.cut_power_after(30)
        command = [sys.executable, "-m", "esptool", "--port", console.port.name, "write-flash"]
        with subprocess.Popen([*command, "0x80000", tmp_path / "data.bin"]) as esptool:
            assert console.board.wait_for_power_cut()
            esptool.kill()  # esptool would wait for an answer
        console.board.cut_power_after(None)
        console.board.power_on()
        assert "Hash of data verified" in console.esptool(
            "write-flash", "0x80000", tmp_path / "data.bin"
        )


def _until_quiet(port):
    port.timeout = 0.5
    while port.read(4096):
        pass
