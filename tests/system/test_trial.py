"""A new version on trial: kept when it is healthy, taken back when it is not."""

import pytest
from device import APP, Device
from mpota import image

ON_TRIAL, REJECTED, BELOW_FLOOR = 34, 35, 36
pytestmark = pytest.mark.parallel

# Applications that fail, each with the reason that the record then contains.
RAISES = {
    "no main": ("x = 1", "ImportError"),
    "no such module": ("import no_such_module\ndef main(ota): pass", "ImportError"),
    "raises at import": ("raise ValueError('at import')", "ValueError: at import"),
    "raises in main": ("def main(ota):\n    raise ValueError('in main')", "ValueError: in main"),
    "raises in its loop": (
        "def main(ota):\n    for i in range(3):\n        ota.handle()\n    1 / 0",
        "ZeroDivisionError: divide by zero",
    ),
    "raises in async main": (
        "async def main(ota):\n    raise ValueError('in async main')", "ValueError: in async main",
    ),
    "main takes nothing": ("def main():\n    pass", "TypeError"),
    "main is no function": ("main = 5", "TypeError"),
    "out of memory": (
        "def main(ota):\n    x = []\n    while True:\n        x += [bytearray(99)]", "MemoryError",
    ),
    "endless recursion": ("def main(ota):\n    main(ota)", "RuntimeError"),
    "exits": ("import sys\ndef main(ota):\n    sys.exit()", "SystemExit"),
}  # fmt: skip
HANGS = {
    "at import": "while True:\n    pass",
    "in main": "def main(ota):\n    while True:\n        pass",
    "asleep": "import time\ndef main(ota):\n    while True:\n        time.sleep_ms(10)",
    "after a while": "def main(ota):\n    ota.handle()\n    while True:\n        pass",
    "between its calls": (
        "import time\ndef main(ota):\n    while True:\n"
        "        ota.handle()\n        time.sleep_ms(6000)"
    ),
    "in async main": "async def main(ota):\n    while True:\n        pass",
}
# This application prints that it runs. It is not confirmed, although it may be healthy.
UNDECIDED = APP.replace("ota.on_error", "ota.auto_confirm = False\n    ota.on_error")


NOT_CONFIRMED = "not confirmed in 3 boots"
HUNG = "it hung"


def falls_back(device, old, start, why):
    """See the trial that began after line *start* taken back, and the release *old* run again.

    The record tells that, and *why*.
    """
    device.board.wait_for("listens on port", start=device.line(rf"app {old} runs", start))
    assert not any("is confirmed" in line for line in device.board.lines[start:])
    assert device.record.outcome.startswith(f"taken back: {device.sequence}: {why}"[:48])


@pytest.mark.parametrize("what", RAISES)
def test_a_version_that_raises_is_taken_back_and_not_taken_again(device, what):
    device.spoiled = True
    old, start = device.sequence, device.said
    source, why = RAISES[what]
    data = device.next_image(source)
    device.upload(data)
    falls_back(device, old, start, f"raised {why}")
    device.refuses(data, REJECTED)
    device.takes_an_update()


def test_a_version_that_takes_itself_back_is_not_taken_again(device):
    device.spoiled = True
    old, start = device.sequence, device.said
    data = device.next_image("def main(ota):\n    ota.reject()")
    device.upload(data)
    falls_back(device, old, start, "the application wished it")
    device.refuses(data, REJECTED)
    device.takes_an_update()


def test_an_image_with_bytecode_of_another_version_is_taken_back(device):
    device.spoiled = True
    old, start = device.sequence, device.said
    device.upload(device.next_image("x", {"app.mpy": b"M\x05\x00\x1f of another version"}))
    falls_back(device, old, start, "")
    device.takes_an_update()


def test_a_version_that_ends_with_a_task_that_was_cancelled_is_taken_back_at_once(device):
    device.spoiled = True
    old, start = device.sequence, device.said
    lines = ["import asyncio", "async def work():", "    await asyncio.sleep(9)"]
    lines += ["async def main(ota):", "    task = asyncio.create_task(work())"]
    lines += ["    await asyncio.sleep_ms(1)", "    task.cancel()", "    await task"]
    device.upload(device.next_image("\n".join(lines)))
    falls_back(device, old, start, "raised RuntimeError: main ")
    assert not any("boot 2 of 3" in line for line in device.board.lines[start:])


@pytest.mark.parametrize("what", HANGS)
def test_a_version_that_hangs_is_taken_back_after_three_boots(device, what):
    device.spoiled = True
    old, start = device.sequence, device.said
    data = device.next_image(HANGS[what])
    device.upload(data)
    falls_back(device, old, start, HUNG)
    bites = [line for line in device.board.lines[start:] if "watchdog: handle() was not" in line]
    assert len(bites) == 3
    device.refuses(data, REJECTED)
    device.takes_an_update()


def test_an_image_without_an_application_is_taken_back(device):
    device.spoiled = True
    old, start = device.sequence, device.said
    device.sequence += 1
    device.upload(
        image.build(name="small", version="1", sequence=device.sequence, files={"x.txt": b""})
    )
    falls_back(device, old, start, "raised ImportError")
    device.takes_an_update()


def test_no_update_is_taken_during_a_trial_and_power_cuts_count_as_tries(device):
    device.spoiled = True
    board, old, start = device.board, device.sequence, device.said
    device.upload(device.next_image(UNDECIDED))
    for boot in (1, 2, 3):
        board.wait_for(f"on trial, boot {boot} of 3", start=start)
        board.wait_for("listens on port", start=start)
        device.refuses(device.image(), ON_TRIAL)
        board.power_off()  # the RTC memory is lost, too
        start = device.said
        board.power_on()
    board.wait_for("boot: slot .: not confirmed in 3 boots", start=start)
    falls_back(device, old, start, NOT_CONFIRMED)
    device.takes_an_update()


def test_a_trial_that_nobody_confirms_is_taken_back(tmp_path):
    with Device(tmp_path, trial_s=1) as device:
        start = device.said
        device.upload(device.next_image(UNDECIDED))
        falls_back(device, 1, start, NOT_CONFIRMED)
        lines = device.board.lines[start:]
        assert sum("not confirmed in time" in line for line in lines) == 3
        device.takes_an_update()


def test_a_trial_without_a_network_is_taken_back(tmp_path):
    with Device(tmp_path, trial_s=1, confirm_s=0.1) as device:
        start = device.said
        device.upload(device.next_image())
        device.board.network = False
        device.board.wait_for("app 1 runs", start=start)
        device.board.network = True
        falls_back(device, 1, start, NOT_CONFIRMED)
        device.takes_an_update()


# An application that takes all of the heap except a given number of bytes.
FILLING_APP = APP.replace(
    "    print(",
    """    import gc

    held = []
    gc.collect()
    while gc.mem_free() > {free}:
        held.append(bytearray(200))
        gc.collect()
    print(""",
)


@pytest.mark.parametrize("password", ["", "secret"], ids=["open", "password"])
def test_a_version_that_leaves_too_little_heap_for_an_update_is_not_confirmed(tmp_path, password):
    # On a board with a password an application may leave less heap, since such a board can restart
    # for an update.
    too_little, enough = (11_000, 18_000) if password else (16_000, 30_000)
    with Device(tmp_path, confirm_s=0.5, trial_s=2, password=password) as device:
        start = device.said
        device.upload(device.next_image(FILLING_APP.replace("{free}", str(too_little))))
        device.board.wait_for(r"leaves \d+ bytes of heap, an update needs \d+", start=start)
        falls_back(device, 1, start, NOT_CONFIRMED)
        device.update(device.next_image(FILLING_APP.replace("{free}", str(enough))))
        device.takes_an_update()


def test_an_application_may_confirm_by_itself(device):
    # The version is not confirmed before the application confirms it, even if it is healthy before.
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
    device.upload(device.image(RAISES["raises in main"][0]))
    falls_back(device, old, start, "raised ValueError: in main")
    device.sequence = old + 1
    device.update(device.image())
    device.takes_an_update()


def test_a_rejected_release_stays_rejected_over_a_power_cut(device):
    device.spoiled = True
    old, start = device.sequence, device.said
    data = device.next_image(RAISES["raises in main"][0])
    device.upload(data)
    falls_back(device, old, start, "raised ValueError: in main")
    device.board.power_off()
    start = device.said
    device.board.power_on()
    device.board.wait_for("listens", start=start)
    device.refuses(data, REJECTED)
    device.takes_an_update()
