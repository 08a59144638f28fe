"""The promises of the example and the documents about valves and gates, on a simulated board."""

import re
import socket
import subprocess
import sys

import boards
import pytest
from device import APP, COMMANDED_APP, Device
from mpota import arduino
from mpota.arduino.outcomes import RefusedError

pytestmark = pytest.mark.parallel

NOT_NOW, DAMAGED = 33, 37

# The demonstrations


def test_a_demonstration_beside_a_board_that_has_its_address_says_so_in_one_line():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.2", 8266))
        for name in ("demo", "demo_signed", "demo_flash", "demo_pull", "demo_hawkbit"):
            done = subprocess.run(
                [sys.executable, boards.ROOT / "examples" / f"{name}.py"],
                capture_output=True, check=False, text=True, timeout=60,
            )  # fmt: skip
            assert (done.returncode, done.stdout) == (1, ""), name
            assert done.stderr.startswith("error: 127.0.0.2 is taken, UDP port 8266 ("), name
            assert done.stderr.count("\n") == 1, name


# The garden example

# This application runs an example whose valve is open whenever no update goes on. It prints the
# level of the valve's pin: when the level changes, before and after the example hears of an update,
# with each piece of the update, and at its end.
WATCHER = """
import garden
from machine import Pin

class ToldPin(Pin):
    def value(self, level=None):
        was = super().value()
        if level is not None and level != was:
            super().value(level)
            print("changed:", int(level))
        return was

def main(ota):
    valve = Pin(5)
    garden.Pin = ToldPin
    {open}
    def before():
        print("before:", valve.value())
        return True
    ota.gate = before
    ota.arduino.on_start(lambda: print("start:", valve.value()))
    ota.arduino.on_progress(lambda done, total: print("progress:", valve.value()))
    ota.arduino.on_end(lambda: print("end:", valve.value()))
    return garden.main(ota)
"""
OPEN = {
    "1.0.0": "garden._OPEN_MS = garden._PERIOD_MS",
    "2.0.0": "garden.Schedule.is_open = lambda self, now_ms: True",
}


def watched(version):
    """Return the example *version* under the watcher."""
    folder = boards.GARDEN / version
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.py")
    }
    files["lib/garden.py"] = files.pop("app.py")
    files["app.py"] = WATCHER.replace("{open}", OPEN[version]).encode()
    return boards.application_image(files, name="garden", version=version, sequence=1)


def next_garden():
    """Return an image of the release after it."""
    files = {"app.py": boards.SMALL_APP.encode(), "data.bin": bytes(5000)}
    return boards.application_image(files, name="garden", version="next", sequence=2)


def levels(board, start, when):
    """Return the levels that the pin had *when*, since line *start*."""
    found = [line.partition(": ") for line in board.lines[start:]]
    return [int(level) for word, _, level in found if word == when]


@pytest.mark.parametrize("version", OPEN)
def test_the_valve_of_the_garden_is_shut_while_an_update_goes_on(tmp_path, version):
    # The heap is larger than usual, so that there is room for WATCHER beside the example.
    with boards.board_with(tmp_path, watched(version), heap="72k", confirm_s=0.1) as board:
        board.wait_for(f"garden {version}: watering")
        board.wait_for("listens on port")
        start = 0
        for _ in range(2):  # both updates fail, and watering goes on after each
            board.wait_for("changed: 1", start=start)
            start = len(board.lines)
            with pytest.raises(RefusedError) as caught:
                arduino.upload(next_garden()[:-1] + b"x", board_ip=board.ip)
            assert caught.value.code == DAMAGED
            board.wait_for("watering goes on", start=start)
            assert levels(board, start, "before") == [1]
            assert levels(board, start, "start") == [0]
            assert set(levels(board, start, "progress")) == {0}
        board.wait_for("changed: 1", start=start)
        start = len(board.lines)
        arduino.upload(next_garden(), board_ip=board.ip)
        board.wait_for("is confirmed", start=start)
        assert levels(board, start, "before") == [1]
        assert set(levels(board, start, "progress")) == {0} and levels(board, start, "end") == [0]


# The gates of docs/SECURITY.md

SECURITY = (boards.ROOT / "docs" / "SECURITY.md").read_text("utf-8")
BUTTON_PRESSED, BUTTON_HELD, AT_NIGHT = re.findall(r"```python\n(.*?)```", SECURITY, re.DOTALL)
# This application simulates a button and a clock. Commands press the button and set the clock.
GATED_APP = """
import network, socket
from machine import Pin as BoardPin
import time as board_time

class Pin(BoardPin):
    def irq(self, handler, trigger):
        assert trigger == Pin.IRQ_FALLING
        self.handler = handler

    def press(self):
        self.value(0)
        if hasattr(self, "handler"):
            self.handler(self)

class time:
    hour = 12

    def localtime():
        return (2030, 6, 1, time.hour, 30, 0, 5, 152)

def main(ota):
    global button
    button = Pin(0, Pin.IN, Pin.PULL_UP)
    {gate}
""" + COMMANDED_APP.partition("def main(ota):\n")[2].replace("time.sleep_ms", "board_time.sleep_ms")


def refused_in_turn(folder, gate, *steps):
    """Return the codes that an update is refused with before and after each of *steps*.

    After the last one, updates are taken.
    """
    app = GATED_APP.replace("{gate}", gate.strip().replace("\n", "\n    "))
    with Device(folder, app, password="secret") as device:
        damaged = device.image(APP)[:-1] + b"x"
        codes = [device.refuses(damaged, NOT_NOW, DAMAGED).code]
        for step in steps:
            device.command(step)
            codes.append(device.refuses(damaged, NOT_NOW, DAMAGED).code)
        device.app = APP
        device.takes_an_update()
    return codes


def test_the_gate_that_a_pressed_button_opens(tmp_path):
    # The gate stays open after the button is let go.
    press, let_go = "button.press()", "button.value(1)"
    codes = refused_in_turn(tmp_path, BUTTON_PRESSED, press, let_go)
    assert codes == [NOT_NOW, DAMAGED, DAMAGED]


def test_the_gate_that_is_open_while_a_button_is_held(tmp_path):
    press, let_go = "button.press()", "button.value(1)"
    codes = refused_in_turn(tmp_path, BUTTON_HELD, press, let_go, press)
    assert codes == [NOT_NOW, DAMAGED, NOT_NOW, DAMAGED]


def test_the_gate_that_is_open_at_night(tmp_path):
    hours = {12: NOT_NOW, 1: NOT_NOW, 2: DAMAGED, 4: NOT_NOW, 23: NOT_NOW, 3: DAMAGED}
    codes = refused_in_turn(tmp_path, AT_NIGHT, *(f"setattr(time, 'hour', {h})" for h in hours))
    assert codes == [NOT_NOW, *hours.values()]
