"""The simulated board's clocks: ticks that come round, the RTC, deep sleep."""

import time

import pytest
from boards import board_that_runs
from device import COMMANDED_APP, Device
from mpota.sim.board import DEEP_SLEEP, POWER_ON, RESET_PIN, SOFT_RESTART
from web_site import WebSite, status

_PERIOD = 2**30
_NEAR = _PERIOD - 400  # with these ticks at the boot, they return to 0 soon


def test_ticks_begin_with_0_at_every_boot(tmp_path):
    script = """
import machine, time
print("begin", time.ticks_ms(), time.ticks_us())
if not machine.reset_cause():
    time.sleep_ms(300)
    machine.reset()
"""
    with board_that_runs(tmp_path, script) as board:
        for start in (0, 1):
            ms, us = map(int, board.wait_for(r"^begin (\d+) (\d+)", start=start).groups())
            # The limits allow for a busy machine. The computer has been on for longer than that.
            assert 0 <= ms < 300
            assert 0 <= us - ms * 1000 < 300000


def test_ticks_come_round_after_30_bits_and_differences_do_not_care(tmp_path):
    script = """
import time
begun = time.ticks_ms()
late = time.ticks_add(begun, 2000)
while time.ticks_diff(late, time.ticks_ms()) > 1000:
    time.sleep_ms(1)
now = time.ticks_ms()
print("round", begun > 2**29, now < 2**29, late < 2**29, time.ticks_diff(now, begun) < 2000)
print("add", time.ticks_add(0, -1) == 2**30 - 1, time.ticks_add(2**30 - 1, 1))
print("diff", time.ticks_diff(5, 2**30 - 5), time.ticks_diff(2**29, 0))
for delta in (2**29, -(2**29)):
    try:
        time.ticks_add(0, delta)
    except OverflowError:
        print("too far")
"""
    with board_that_runs(tmp_path, script, ticks=_NEAR) as board:
        board.wait_for("^round True True True True$")
        board.wait_for("^add True 0$")
        board.wait_for(f"^diff 10 {-(2**29)}$")
        board.wait_for("^too far$", start=board.lines.index("too far") + 1)


def test_microseconds_come_round_as_well(tmp_path):
    script = """
import time
begun = time.ticks_us()
while time.ticks_diff(time.ticks_us(), begun) < 600000:
    pass
print("round", begun > 2**29, time.ticks_us() < 2**29)
"""
    # 2**30 us are 1,073,741.824 ms.
    with board_that_runs(tmp_path, script, ticks=1073741 - 300) as board:
        board.wait_for("^round True True$")


def test_asyncio_sleeps_orders_and_cancels_across_the_turn(tmp_path):
    script = """
import asyncio, time
said = []
async def say(name, ms):
    await asyncio.sleep_ms(ms)
    said.append((name, time.ticks_ms() < 2**29))
async def main():
    begun = time.ticks_ms()
    tasks = [asyncio.create_task(say(*one)) for one in
             (("late", 1500), ("early", 50), ("middle", 1000), ("never", 5000))]
    await asyncio.sleep_ms(1200)
    tasks[3].cancel()
    await tasks[0]
    print("said", said, tasks[3].done(), 1500 <= time.ticks_diff(time.ticks_ms(), begun) < 5000)
asyncio.run(main())
"""
    with board_that_runs(tmp_path, script, ticks=_NEAR) as board:
        told = board.wait_for("^said (.*)")[1]
        assert told == "[('early', False), ('middle', True), ('late', True)] True True"


def test_a_timer_and_a_wait_for_the_network_go_on_across_the_turn(tmp_path):
    script = """
import machine, network, time
station = network.WLAN(0)
station.active(True)
station.connect("simulated", "")
ticks = []
machine.Timer(-1).init(period=50, callback=lambda _: ticks.append(time.ticks_ms() < 2**29))
while not station.isconnected() or ticks.count(True) < 5:
    time.sleep_ms(10)
print("goes on", ticks.count(False) > 0)
"""
    with board_that_runs(tmp_path, script, ticks=_NEAR, join_s=1) as board:
        board.wait_for("^goes on True$")


# The services while the ticks return to 0, as they do after days


@pytest.mark.parametrize("before_ms", [200, 1000, 2500])
def test_an_update_and_its_trial_go_through_while_the_ticks_come_round(tmp_path, before_ms):
    with Device(tmp_path, confirm_s=1, ticks=_PERIOD - before_ms) as device:
        device.update()
        device.takes_an_update()


def test_a_board_asks_its_server_again_after_the_ticks_have_come_round(tmp_path):
    with WebSite() as site:
        url = site.add("/", status("304 Not Modified"))
        often = {"update_url": url, "update_interval_s": 1}
        with Device(tmp_path, COMMANDED_APP, ticks=_PERIOD - 4000, **often) as device:
            device.board.wait_for("pull: no update")
            come_round = ""
            while come_round != "True":
                said = device.command("__import__('utime').ticks_ms() < 2**29")
                come_round = device.board.wait_for(r"^gives (\w+)", start=said)[1]
            for _ in range(2):
                device.board.wait_for("pull: no update", start=device.said)


# The RTC


def test_the_clock_begins_in_2000_and_counts(tmp_path):
    script = """
import machine, time
print("clock", time.time() < 30, time.gmtime(0), machine.RTC().datetime()[:5])
begun = time.time_ns()
time.sleep_ms(100)
print("counts", time.time_ns() - begun >= 90000000)
"""
    with board_that_runs(tmp_path, script) as board:
        told = board.wait_for("^clock (.*)")[1]
        assert told == "True (2000, 1, 1, 0, 0, 0, 5, 1) (2000, 1, 1, 5, 0)"
        board.wait_for("^counts True$")


def test_the_clock_can_be_set_and_keeps_its_time_over_a_reset_but_not_without_power(tmp_path):
    script = """
import machine, time
rtc = machine.RTC()
if machine.reset_cause() == 4:
    print("after", rtc.datetime()[:3], time.localtime()[:3])
elif rtc.datetime()[0] == 2000:
    print("new")
    rtc.datetime((2026, 11, 26, 3, 12, 30, 0, 250))
    seconds = time.mktime((2026, 11, 26, 12, 30, 0, 0, 0))
    print("set", rtc.datetime()[:6], time.localtime()[:5], seconds)
    machine.reset()
"""
    with board_that_runs(tmp_path, script) as board:
        told = board.wait_for("^set (.*)")[1]
        assert told == "(2026, 11, 26, 3, 12, 30) (2026, 11, 26, 12, 30) 849011400"
        board.wait_for(r"^after \(2026, 11, 26\) \(2026, 11, 26\)$")
        board.power_off()
        said = len(board.lines)
        board.power_on()
        board.wait_for("^new$", start=said)


def test_the_time_from_the_network_needs_a_network(tmp_path):
    script = """
import network, ntptime, time
try:
    ntptime.settime()
except OSError as e:
    print("no network", e)
network.WLAN(0).active(True)
network.WLAN(0).connect("simulated", "")
ntptime.settime()
print("time", time.time())
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^no network -2$")
        assert abs(int(board.wait_for("^time (.*)")[1]) + 946684800 - time.time()) < 30


# Deep sleep


def test_deep_sleep_ends_by_a_reset_of_its_own_cause_and_keeps_what_is_in_the_rtc(tmp_path):
    script = """
import machine, time
print("cause", machine.reset_cause(), machine.RTC().memory() or b"", time.time() >= 3600)
if machine.reset_cause() == 0:
    machine.RTC().memory(b"kept")
    machine.RTC().datetime((2000, 1, 1, 5, 1, 0, 0, 0))
    machine.deepsleep(300)
elif machine.reset_cause() == 5:
    machine.reset()
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for(f"^cause {POWER_ON} ")
        begun = time.monotonic()
        board.wait_for(f"^cause {DEEP_SLEEP} b'kept' True$")
        assert time.monotonic() - begun >= 0.2
        board.wait_for(f"^cause {SOFT_RESTART} b'kept' True$")


@pytest.mark.parametrize("call", ["machine.deepsleep()", "esp.deepsleep(0)"])
def test_a_chip_that_sleeps_for_ever_is_woken_by_its_reset_pin(tmp_path, call):
    script = f"""
import esp, machine
print("cause", machine.reset_cause())
if machine.reset_cause() == 0:
    {call}
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for(f"^cause {POWER_ON}$")
        board.reset()
        board.wait_for(f"^cause {RESET_PIN}$")


def test_the_alarm_of_the_rtc_ends_a_deep_sleep(tmp_path):
    script = """
import machine
rtc = machine.RTC()
print("cause", machine.reset_cause())
if machine.reset_cause() == 0:
    rtc.irq(trigger=rtc.ALARM0, wake=machine.DEEPSLEEP)
    rtc.alarm(rtc.ALARM0, 200)
    print("left", 0 < rtc.alarm_left() <= 200)
    machine.deepsleep()
"""
    with board_that_runs(tmp_path, script) as board:
        board.wait_for("^left True$")
        board.wait_for(f"^cause {DEEP_SLEEP}$")


def test_a_board_can_be_switched_off_while_it_sleeps(tmp_path):
    script = "import machine\nprint('sleeps')\nmachine.deepsleep(600000)\n"
    board = board_that_runs(tmp_path, script)
    with board:
        board.wait_for("^sleeps$")
    assert not board.is_on
    assert board.boots == 1
