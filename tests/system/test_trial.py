"""A new version on trial: kept when it is healthy, taken back when it is not."""

import pytest
from device import APP, Device
from mpota import image

ON_TRIAL, REJECTED, BELOW_FLOOR = 34, 35, 36
pytestmark = pytest.mark.parallel

RAISES = {
    "no main": "x = 1",
    "no such module": "import no_such_module\ndef main(ota): pass",
    "no Python": "def main(ota:\n",
    "raises at import": "raise ValueError('at import')",
    "raises in main": "def main(ota):\n    raise ValueError('in main')",
    "raises in its loop": "def main(ota):\n    for i in range(3):\n        ota.handle()\n    1 / 0",
    "raises in async main": "async def main(ota):\n    raise ValueError('in async main')",
    "main takes nothing": "def main():\n    pass",
    "main is no function": "main = 5",
    "out of memory": "def main(ota):\n    x = []\n    while True:\n        x += [bytearray(99)]",
    "endless recursion": "def main(ota):\n    main(ota)",
    "larger than memory": "def main(ota):\n    pass\n" + "x = 'some line of source'\n" * 13_000,
    "takes itself back": "def main(ota):\n    ota.reject()",
}
HANGS = {
    "at import": "while True:\n    pass",
    "in main": "def main(ota):\n    while True:\n        pass",
    "asleep": "import time\ndef main(ota):\n    while True:\n        time.sleep_ms(10)",
    "after a while": "def main(ota):\n    ota.handle()\n    while True:\n        pass",
    "in async main": "async def main(ota):\n    while True:\n        pass",
}
# Says that it runs, and never that it is healthy.
UNDECIDED = APP.replace("ota.on_error", "ota.auto_confirm = False\n    ota.on_error")


def falls_back(device, old, start):
    """See the trial that began after line *start* taken back, and the release *old* run again."""
    device.board.wait_for(rf"app {old} runs", start=start)
    assert any("taken back" in line for line in device.board.lines[start:])
    assert not any("is confirmed" in line for line in device.board.lines[start:])


@pytest.mark.parametrize("what", RAISES)
def test_a_version_that_raises_is_taken_back_and_not_taken_again(device, what):
    device.spoiled = True
    old, start = device.sequence, device.said
    data = device.next_image(RAISES[what])
    device.upload(data)
    falls_back(device, old, start)
    device.refuses(data, REJECTED)
    device.takes_an_update()


def test_a_version_that_ends_with_a_task_that_was_cancelled_is_taken_back_at_once(device):
    device.spoiled = True
    old, start = device.sequence, device.said
    lines = ["import asyncio", "async def work():", "    await asyncio.sleep(9)"]
    lines += ["async def main(ota):", "    task = asyncio.create_task(work())"]
    lines += ["    await asyncio.sleep_ms(1)", "    task.cancel()", "    await task"]
    device.upload(device.next_image("\n".join(lines)))
    falls_back(device, old, start)
    assert not any("boot 2 of 3" in line for line in device.board.lines[start:])


@pytest.mark.parametrize("what", HANGS)
def test_a_version_that_hangs_is_taken_back_after_three_boots(device, what):
    device.spoiled = True
    old, start = device.sequence, device.said
    data = device.next_image(HANGS[what])
    device.upload(data)
    falls_back(device, old, start)
    assert sum("watchdog reset" in line for line in device.board.lines[start:]) == 3
    device.refuses(data, REJECTED)
    device.takes_an_update()


def test_an_image_without_an_application_is_taken_back(device):
    device.spoiled = True
    old, start = device.sequence, device.said
    device.sequence += 1
    device.upload(
        image.build(name="small", version="1", sequence=device.sequence, files={"x.py": b""})
    )
    falls_back(device, old, start)
    device.takes_an_update()


def test_no_update_is_taken_during_a_trial_and_power_cuts_count_as_tries(device):
    device.spoiled = True
    board, old, start = device.board, device.sequence, device.said
    device.upload(device.next_image(UNDECIDED))
    for boot in (1, 2, 3):
        board.wait_for(f"on trial, boot {boot} of 3", start=start)
        board.wait_for("listens on port", start=start)
        device.refuses(device.image(), ON_TRIAL)
        board.power_off()  # and with it the RTC memory
        start = device.said
        board.power_on()
    board.wait_for("not confirmed in 3 boots, taken back", start=start)
    falls_back(device, old, start)
    device.takes_an_update()


def test_a_trial_that_nobody_confirms_is_taken_back(tmp_path):
    with Device(tmp_path, trial_s=0.4) as device:
        start = device.said
        device.upload(device.next_image(UNDECIDED))
        falls_back(device, 1, start)
        lines = device.board.lines[start:]
        assert sum("not confirmed in time" in line for line in lines) == 3
        device.takes_an_update()


def test_a_trial_without_a_network_is_taken_back(tmp_path):
    with Device(tmp_path, trial_s=0.4, confirm_s=0.1) as device:
        start = device.said
        device.upload(device.next_image())
        device.board.network = False
        falls_back(device, 1, start)
        device.board.network = True
        device.board.wait_for("listens", start=start)
        start = device.said
        device.board.reset()
        device.board.wait_for("listens", start=start)
        device.takes_an_update()


def test_a_loop_that_comes_back_too_seldom_is_not_healthy(tmp_path):
    seldom = APP.replace("time.sleep_ms(2)", "time.sleep_ms(5200)")
    with Device(tmp_path, watchdog_ms=20_000, confirm_s=5.1, trial_s=8) as device:
        start = device.said
        device.upload(device.next_image(seldom))
        device.board.wait_for("not confirmed in time", start=start)
        assert not any("is confirmed" in line for line in device.board.lines)


def test_an_application_may_confirm_by_itself(device):
    # Though it is healthy by then, nothing is confirmed before it says so.
    app = UNDECIDED.replace(
        "        ota.handle()\n",
        "        ota.handle()\n"
        "        if ota.healthy and ota.trial:\n"
        "            print('healthy')\n"
        "            ota.confirm()\n",
    )
    start = device.said
    device.update(device.next_image(app))
    lines = device.board.lines[start:]
    confirmed = next(i for i, line in enumerate(lines) if "is confirmed" in line)
    assert "healthy" in lines[:confirmed]
    device.takes_an_update()


def test_a_confirmed_version_stays_over_reset_and_power_cut(device):
    device.update()
    for again in (device.board.reset, device.board.power_off):
        start = device.said
        again()
        if not device.board.is_on:
            device.board.power_on()
        device.board.wait_for(f"app {device.sequence} runs", start=start)
        device.board.wait_for("listens", start=start)
    device.takes_an_update()


def test_a_release_below_the_floor_is_refused(device):
    data = device.image()
    device.update()
    with device.unharmed():
        device.refuses(data, BELOW_FLOOR)


def test_the_release_that_runs_may_be_installed_again(device):
    device.update(device.image())
    device.takes_an_update()


def test_the_floor_does_not_rise_with_a_release_that_is_taken_back(device):
    device.spoiled = True
    old, start = device.sequence, device.said
    device.sequence += 100
    device.upload(device.image(RAISES["raises in main"]))
    falls_back(device, old, start)
    device.sequence = old + 1
    device.update(device.image())
    device.takes_an_update()


def test_a_rejected_release_stays_rejected_over_a_power_cut(device):
    device.spoiled = True
    old, start = device.sequence, device.said
    data = device.next_image(RAISES["raises in main"])
    device.upload(data)
    falls_back(device, old, start)
    device.board.power_off()
    start = device.said
    device.board.power_on()
    device.board.wait_for("listens", start=start)
    device.refuses(data, REJECTED)
    device.takes_an_update()
