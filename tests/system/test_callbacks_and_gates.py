"""What the application is told of an update, and how it can refuse one."""

import pytest
from device import APP, COMMANDED_APP, Device
from mpota.arduino.outcomes import ConnectionLostError, WrongPasswordError
from raw_host import RawHost

pytestmark = pytest.mark.parallel

VETOED, NOT_NOW, DAMAGED = 32, 33, 37
RECORDER = """
import time

def main(ota):
{register}
    print("app {version} runs")
    while True:
        ota.handle()
        time.sleep_ms(2)
"""
PLAIN = """
    {on}.on_start(lambda: print("{who} start"))
    {on}.on_progress(lambda done, total: print("{who} progress", done, total))
    {on}.on_end(lambda: print("{who} end"))
    {on}.on_error(lambda code: print("{who} update failed, code", code))
"""
DECORATED = """
    @{on}.on_start
    def start():
        print("{who} start")
    @{on}.on_progress
    def progress(done, total):
        print("{who} progress", done, total)
    @{on}.on_end
    def end():
        print("{who} end")
    @{on}.on_error
    def error(code):
        print("{who} update failed, code", code)
    assert start and progress and end and error
"""


def damaged(device):
    """Return an image that is refused when all of it is there."""
    return device.image(files={"data.bin": bytes(5000)})[:-1] + b"x"


def app_with(register):
    """Return an application that does *register* at its start."""
    return APP.replace("    print(", "    " + register.replace("\n", "\n    ") + "\n    print(")


def heard(device, start, who):
    """Return what was told to *who* since line *start*, without its name."""
    return [line[len(who) + 1 :] for line in device.board.lines[start:] if line.startswith(who)]


@pytest.mark.parametrize("on", ["ota", "ota.arduino"])
@pytest.mark.parametrize("how", [PLAIN, DECORATED], ids=["plain", "decorated"])
def test_callbacks_tell_of_an_update_in_order(tmp_path, on, how):
    app = RECORDER.replace("{register}", how.replace("{on}", on).replace("{who}", "told"))
    with Device(tmp_path, app) as device:
        start = device.said
        data = damaged(device)
        device.refuses(data, DAMAGED)
        done = [*range(1460, len(data), 1460), len(data)]
        assert heard(device, start, "told") == [
            "start", *(f"progress {n} {len(data)}" for n in done), "update failed, code 4",
        ]  # fmt: skip
        start = device.said
        data = device.next_image()
        device.update(data)
        told = heard(device, start, "told")
        assert (told[0], told[-2], told[-1]) == (
            "start",
            f"progress {len(data)} {len(data)}",
            "end",
        )
        lines = device.board.lines[start:]
        assert lines.index("told start") < next(i for i, x in enumerate(lines) if "announced" in x)
        assert lines.index("told end") < next(i for i, x in enumerate(lines) if "restart" in x)


def test_both_hear_of_it_the_whole_before_the_service(tmp_path):
    how = PLAIN.replace("{on}", "ota.arduino").replace("{who}", "told service")
    how += PLAIN.replace("{on}", "ota").replace("{who}", "told whole")
    with Device(tmp_path, RECORDER.replace("{register}", how)) as device:
        start = device.said
        device.update()
        told = heard(device, start, "told")
        assert told[:2] == ["whole start", "service start"]
        assert told[-2:] == ["whole end", "service end"]


@pytest.mark.parametrize("event", ["progress", "end", "error"])
def test_a_callback_that_raises_does_no_harm(tmp_path, event):
    app = app_with(f"ota.arduino.on_{event}(lambda *_: 1 / 0)")
    with Device(tmp_path, app) as device:
        device.refuses(damaged(device), DAMAGED)
        device.takes_an_update()
        device.board.wait_for(f"on_{event} raised ZeroDivisionError")


@pytest.mark.parametrize("on", ["ota", "ota.arduino"])
def test_an_on_start_that_raises_refuses_the_update_and_the_host_hears_why(device, on):
    # The callback raises in its first call only. It agrees to the next update.
    register = f"""asked = []
def start():
    asked.append(1)
    if len(asked) == 1:
        raise ValueError("valve is stuck")
{on}.on_start(start)"""
    device.update(device.next_image(app_with(register)))
    with device.unharmed():
        error = device.refuses(device.image(), VETOED)
        assert "valve is stuck" in str(error)


def test_a_closed_gate_refuses_updates_until_a_window_is_opened_and_the_host_is_told(device):
    # While the gate is closed, on_start is not called.
    app = COMMANDED_APP.replace(
        "ota.on_end", "ota.on_start(lambda: print('on_start'))\n    ota.on_end"
    )
    start = device.said
    device.update(device.next_image(app))
    for gate in ("lambda: False", "lambda: 0", "lambda: None", "lambda: 1 / 0", "5"):
        device.command(f"setattr(ota, 'gate', {gate})")
        error = device.refuses(device.image(), NOT_NOW)
        assert "ERROR[33]: Updates are not allowed now" in str(error), gate
    assert "on_start" not in device.board.lines[start:]
    device.command("setattr(ota, 'gate', lambda: True)")
    device.refuses(damaged(device), DAMAGED)
    device.command("setattr(ota, 'gate', lambda: False)")
    device.refuses(device.image(), NOT_NOW)
    device.command("ota.allow_for(60)")
    device.takes_an_update()


def test_a_window_that_is_over_refuses_updates_until_the_next_one_or_an_open_gate(device):
    device.update(device.next_image(COMMANDED_APP))
    device.command("ota.allow_for(0)")
    device.refuses(device.image(), NOT_NOW)
    device.command("setattr(ota, 'gate', lambda: True)")
    device.refuses(damaged(device), DAMAGED)
    device.command("setattr(ota, 'gate', None)")
    device.refuses(device.image(), NOT_NOW)
    device.command("ota.allow_for(60)")
    device.takes_an_update()


def test_the_listener_tells_what_kind_of_update_was_announced_last(device):
    device.update(device.next_image(COMMANDED_APP))
    with RawHost(device.board.ip) as host:
        for command, size in ((0, 0), (100, 0), (0, 0)):  # none of these updates begins
            host.invite(size, command=command)
            assert host.answer().startswith("ERR: ERROR[")
            start = device.command("ota.arduino.command")
            device.board.wait_for(f"gives {command}$", start=start)
    device.takes_an_update()


# This application ends the listener in the middle of the first update. Then it opens the listener's
# port itself for a moment.
ENDING_APP = """
import socket, time

def main(ota):
    print("app {version} runs")
    done = []
    ota.on_progress(lambda *progress: done.append(1))
    while not done:
        ota.handle()
    ota.arduino.end()
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.bind(("", 8266))
    own.close()
    print("is_updating", ota.is_updating)
    ota.handle()  # which leaves it off
    ota.arduino.begin()
    while True:
        ota.handle()
        time.sleep_ms(2)
"""


def test_an_application_may_end_the_listener_which_discards_an_update_and_frees_the_port(tmp_path):
    # With step_ms=0, a call of handle() does one step. Otherwise a fast machine would receive all
    # of the image in the first call.
    with Device(tmp_path, ENDING_APP, step_ms=0) as device, device.unharmed():
        data = device.image(files={"data.bin": bytes(90_000)})
        device.fails(data, ConnectionLostError)
        device.board.wait_for("is_updating False")
        device.board.wait_for(
            "listens on port", start=device.board.lines.index("is_updating False")
        )
        device.app = APP


def test_is_updating_is_true_during_an_update_only(device):
    app = APP.replace(
        "        ota.handle()\n",
        "        ota.handle()\n"
        "        if ota.is_updating != was:\n"
        "            was = ota.is_updating\n"
        "            print('is_updating', was)\n",
    ).replace("    while", "    was = ota.is_updating\n    print('first', was)\n    while")
    device.update(device.next_image(app))
    start = device.said
    with device.unharmed():
        device.refuses(damaged(device), DAMAGED)
        device.board.wait_for("is_updating False", start=start)
        assert updating(device, start) == [True, False]
    # After a good update, is_updating stays true until the restart. Then the next version runs.
    assert updating(device, start) == [True, False, True]
    assert "first False" in device.board.lines


def updating(device, start):
    """Return what `is_updating` has become since line *start*."""
    told = [line for line in device.board.lines[start:] if line.startswith("is_updating")]
    return [line.endswith("True") for line in told]


def test_who_has_not_proved_to_know_the_password_makes_no_application_believe_in_an_update(
    tmp_path,
):
    app = APP.replace(
        "        ota.handle()\n",
        "        ota.handle()\n        if ota.is_updating:\n            print('updating')\n",
    )
    with Device(tmp_path, app, password="secret") as device:
        with pytest.raises(WrongPasswordError):
            device.upload(device.next_image(), password="wrong")
        device.board.wait_for("authentication failed")
        assert "updating" not in device.board.lines
        device.upload(device.next_image())
        device.board.wait_for("^updating$")
