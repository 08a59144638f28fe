"""What the example and the documents say of valves and gates, on a board as it stands there."""

import re

import boards
import pytest
from device import APP, FAILED, Device
from mpota import arduino, image
from mpota.arduino.outcomes import RefusedError

pytestmark = pytest.mark.parallel

NOT_NOW, DAMAGED = 33, 37
NOT_AN_IMAGE = b"M" + bytes(5000)

# The garden

# Runs an example with its valve open whenever no update goes on, and tells the level of the pin
# itself: when it changes, before and after the example hears of an update, with each piece of it.
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
    """Give the example *version* under the watcher."""
    folder = boards.GARDEN / version
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.py")
    }
    files["lib/garden.py"] = files.pop("app.py")
    files["app.py"] = WATCHER.replace("{open}", OPEN[version]).encode()
    return image.build(name="garden", version=version, sequence=1, files=files)


def levels(board, start, when):
    """Give the levels that the pin had *when*, since line *start*."""
    found = [line.partition(": ") for line in board.lines[start:]]
    return [int(level) for word, _, level in found if word == when]


@pytest.mark.parametrize("version", OPEN)
def test_the_valve_of_the_garden_is_shut_while_an_update_goes_on(tmp_path, version):
    # With room for the watcher beside the example.
    with boards.board_with(tmp_path, watched(version), heap="72k", confirm_s=0.1) as board:
        board.wait_for(f"garden {version}: watering")
        board.wait_for("listens on port")
        start = 0
        for _ in range(2):  # after the first, which fails, watering goes on
            board.wait_for("changed: 1", start=start)
            start = len(board.lines)
            with pytest.raises(RefusedError) as caught:
                arduino.upload(NOT_AN_IMAGE, board_ip=board.ip)
            assert caught.value.code == DAMAGED
            board.wait_for("watering goes on", start=start)
            assert levels(board, start, "before") == [1]
            assert levels(board, start, "start") == [0]
            assert levels(board, start, "progress") == [0] * 4
        board.wait_for("changed: 1", start=start)
        start = len(board.lines)
        files = {"app.py": boards.SMALL_APP.encode()}
        data = image.build(name="garden", version="next", sequence=2, files=files)
        arduino.upload(data, board_ip=board.ip)
        board.wait_for("is confirmed", start=start)
        assert levels(board, start, "before") == [1]
        assert set(levels(board, start, "progress")) == {0} and levels(board, start, "end") == [0]


# The gates of docs/SECURITY.md

SECURITY = (boards.ROOT / "docs" / "SECURITY.md").read_text("utf-8")
BUTTON_PRESSED, BUTTON_HELD, AT_NIGHT = re.findall(r"```python\n(.*?)```", SECURITY, re.DOTALL)
# A finger on the board's button, a clock to be set, and a step after every failed update.
GATED_APP = """
import time as board_time
from machine import Pin as BoardPin

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
    button = Pin(0, Pin.IN, Pin.PULL_UP)
    {gate}
    steps = {steps}
    def failed(code):
        eval(steps.pop(0), {"button": button, "time": time, "setattr": setattr})
        print("update failed, code", code)
    ota.on_error(failed)
    print("app 1 runs")
    while True:
        ota.handle()
        board_time.sleep_ms(2)
"""


def refused_in_turn(folder, gate, *steps):
    """Give the codes that an update is refused with before each of *steps*.

    After the last one, updates are taken.
    """
    app = GATED_APP.replace("{gate}", gate.strip().replace("\n", "\n    "))
    with Device(folder, app.replace("{steps}", repr(list(steps)))) as device:
        codes = []
        for _ in steps:
            start = device.said
            codes.append(device.fails(NOT_AN_IMAGE, RefusedError).code)
            device.board.wait_for(FAILED, start=start)
        device.app = APP
        device.takes_an_update()
    return codes


def test_the_gate_that_a_pressed_button_opens(tmp_path):
    # It stays open when the button is let go.
    press, let_go = "button.press()", "button.value(1)"
    assert refused_in_turn(tmp_path, BUTTON_PRESSED, "0", press, let_go) == [
        NOT_NOW, NOT_NOW, DAMAGED,
    ]  # fmt: skip


def test_the_gate_that_is_open_while_a_button_is_held(tmp_path):
    press, let_go = "button.press()", "button.value(1)"
    assert refused_in_turn(tmp_path, BUTTON_HELD, press, let_go, press) == [
        NOT_NOW, DAMAGED, NOT_NOW,
    ]  # fmt: skip


def test_the_gate_that_is_open_at_night(tmp_path):
    hours = {12: NOT_NOW, 1: NOT_NOW, 2: DAMAGED, 3: DAMAGED, 4: NOT_NOW, 23: NOT_NOW}
    steps = [f"setattr(time, 'hour', {hour})" for hour in [*hours, 2][1:]]
    assert refused_in_turn(tmp_path, AT_NIGHT, *steps) == list(hours.values())
