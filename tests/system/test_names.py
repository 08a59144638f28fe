"""Files and modules that have the names of others: the update services still work."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from device import Device

# MicroPython's own modules. Some of them are modules that it looks for on the path first.
MICROPYTHON = """
    array asyncio binascii builtins collections deflate errno esp flashbdev framebuf gc hashlib
    heapq io json lwip machine math micropython network ntptime os platform random re requests
    select socket ssl struct sys time uctypes umachine umqtt uos uselect usocket utime vfs webrepl
    websocket
""".split()  # noqa: SIM905
# The names of this package's modules.
OWN = """
    ota arduino auth begin boot callbacks clock control errors hal log main md5 md5_bytecode
    md5_viper record restart session settings signature slots start trial updater verify watchdog
    wifi
""".split()  # noqa: SIM905

# MicroPython's own asyncio imports these modules, and looks for them on the path first.
NEEDED_BY_ASYNCIO = {"select", "time"}

RAISES = b"raise RuntimeError('this module must not be imported')\n"
EMPTY = b"x = 1\n"
# An application that imports nothing.
PLAIN_APP = """
def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    print("app {version} runs")
    while True:
        ota.handle()
"""
ASYNC_APP = """
import asyncio

async def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    print("app {version} runs")
    while True:
        await asyncio.sleep_ms(20)
"""


def modules(names, content, folder=""):
    """Return a module and a package of each of *names*, in *folder*."""
    files = {}
    for name in names:
        files[f"{folder}{name}.py"] = content
        files[f"{folder}lib/{name}/__init__.py"] = content
    return files


@pytest.mark.parallel
@pytest.mark.parametrize("app", [PLAIN_APP, ASYNC_APP], ids=["plain", "async"])
def test_files_on_littlefs_take_the_place_of_no_module_of_the_services(tmp_path, app):
    names = {*MICROPYTHON, *OWN} - {"boot", "main"}
    if app is ASYNC_APP:
        names -= NEEDED_BY_ASYNCIO

    def add(files):
        for name, content in modules(names, RAISES, "/").items():
            files[name] = content
        files |= {f"/{name}/__init__.py": RAISES for name in ("app", "ota", "asyncio", "rom")}
        files |= {"/app.py": RAISES, "/app/app.py": RAISES, "/lib/ota/arduino/__init__.py": RAISES}

    with Device(tmp_path, app) as device:
        start = device.change_files(add)
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("listens", start=start)
        device.takes_an_update()
        start = device.boot("power cut")
        device.board.wait_for("app 2 runs", start=start)
        assert not any("must not be imported" in line for line in device.board.lines)


@pytest.mark.parallel
@pytest.mark.parametrize("app", [PLAIN_APP, ASYNC_APP], ids=["plain", "async"])
@pytest.mark.parametrize("names", [MICROPYTHON, OWN], ids=["MicroPython's", "ours"])
def test_an_application_whose_modules_bear_every_name_is_confirmed_and_updated(
    tmp_path, names, app
):
    names = {*names} - {"app"} - (NEEDED_BY_ASYNCIO if app is ASYNC_APP else set())
    with Device(tmp_path, PLAIN_APP) as device:
        device.update(device.next_image(app, modules(names, RAISES)))
        device.takes_an_update()
        assert not any("must not be imported" in line for line in device.board.lines)


@pytest.mark.campaign
def test_whatever_an_application_calls_its_modules_the_next_update_gets_in(tmp_path, campaign):
    # If a module hides another one that the application needs, the application's trial fails.
    names = campaign.sample("names", sorted({*MICROPYTHON, *OWN}), 5)
    kinds = {
        "plain": (PLAIN_APP, EMPTY),
        "async": (ASYNC_APP, EMPTY),
        "raises": (ASYNC_APP, RAISES),
    }

    def run(kind):
        folder = tmp_path / kind
        folder.mkdir()
        app, content = kinds[kind]
        taken_back = []
        with Device(folder, trial_s=5) as device:
            for name in names:
                start, old = device.said, device.sequence
                device.upload(device.next_image(app, modules([name], content)))
                trial = device.line("on trial", start)
                ended = device.board.wait_for(rf"is confirmed|app {old} runs", start=trial)
                if "confirmed" not in ended[0]:
                    taken_back.append(name)
                    device.board.wait_for("listens", start=device.line(ended[0], trial))
                device.takes_an_update()
        return taken_back

    with ThreadPoolExecutor(len(kinds)) as pool:
        taken_back = dict(zip(kinds, pool.map(run, kinds), strict=True))
    assert taken_back["plain"] == []
    assert {*taken_back["async"], *taken_back["raises"]} <= NEEDED_BY_ASYNCIO
