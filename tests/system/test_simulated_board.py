"""The simulated board keeps to what a real one does."""

import socket
import subprocess
import sys

import pytest
from boards import own_ip, small_image
from mpota.errors import CommandError
from mpota.sim import Board, create_flash, read_flash
from mpota.sim.board_process import POWER_ON, SOFT_RESTART, SOFTWARE_WATCHDOG


def board_that_runs(folder, script, **options):
    create_flash(folder / "flash.img", {"/main.py": script.encode()})
    return Board(folder / "flash.img", ip=own_ip(), **options)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("flash_erase(512); esp.flash_write(512 * 4096, b'abc')", "multiple of 4"),
        ("flash_write(4 * 1024 * 1024, bytes(4))", "outside the flash"),
        ("flash_write(-4, bytes(4))", "outside the flash"),
        ("flash_erase(1024)", "outside the flash"),
        ("flash_read(4 * 1024 * 1024 - 2, bytearray(4))", "outside the flash"),
        ("flash_write(512 * 4096, bytes(4)); esp.flash_write(512 * 4096, b'abcd')", "sets a bit"),
    ],
)
def test_flash_refuses_and_counts_what_nor_flash_would_not_do(tmp_path, call, complaint):
    script = f"import esp\ntry:\n esp.{call}\nexcept ValueError as e:\n print('refused', e)\n"
    with board_that_runs(tmp_path, script) as board:
        assert complaint in board.wait_for("^refused (.*)")[1]
        assert complaint in board.violation


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


def test_the_board_s_code_finds_no_more_heap_than_a_bare_interpreter_of_that_size(tmp_path):
    script = "import gc\ngc.collect()\nprint('free', gc.mem_free())\n"
    bare = subprocess.run(
        [sys.executable, "-m", "micropython_unix", "-X", "heapsize=56k", "-c", script],
        capture_output=True,
        check=True,
        text=True,
    )
    create_flash(tmp_path / "flash.img", {"/boot.py": script.encode()})
    with Board(tmp_path / "flash.img", ip=own_ip()) as board:
        free = int(board.wait_for(r"^free (\d+)")[1])
    assert 0.95 * int(bare.stdout.split()[1]) < free <= int(bare.stdout.split()[1])


def test_timers_call_back_while_the_program_sleeps(tmp_path):
    script = """
import machine, time
machine.Timer(-1).init(period=20, mode=machine.Timer.PERIODIC, callback=lambda t: print("tick"))
time.sleep(1)
print("slept")
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^slept$")
        assert board.lines.count("tick") >= 10


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
    with pytest.raises(CommandError, match="holds no littlefs"):
        read_flash(tmp_path / "y.img")
