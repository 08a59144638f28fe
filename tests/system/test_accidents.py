"""An application does something by accident, and never undoes it: updates still succeed."""

import pytest
from device import APP, Device

pytestmark = pytest.mark.parallel

CLUMSY = """
{imports}
import time

def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    print("app {{version}} runs")
    while not ota.arduino.socket:
        ota.handle()
    {accident}
    print("that was it")
    while True:
        ota.handle()
        time.sleep_ms(10)
"""
# For each accident: the import that it needs, and the statements that cause it.
ACCIDENTS = {
    "it stops the collector": ("import gc", "gc.disable()"),
    "it locks the heap": ("import micropython", "micropython.heap_lock()"),
    "it locks the heap twice": (
        "from micropython import heap_lock",
        "heap_lock(); heap_lock()",
    ),
    "it empties the path": ("import sys", "sys.path.clear()"),
    "it has a path of its own": ("import sys", "sys.path[:] = ['/data']"),
    "it changes the folder": ("import os", "os.mkdir('/x'); os.chdir('/x')"),
    "it unmounts the file system": ("import os", "os.umount('/')"),
    "it fills the file system": (
        "",
        "f = open('/big', 'wb')\n    try:\n        while f.write(bytes(4096)): pass\n"
        "    except OSError: print('full')\n    try: f.close()\n    except OSError: pass",
    ),
    "it has many small files": (
        "",
        "for n in range(300):\n        with open('/%d' % n, 'wb') as f: f.write(b'x' * 100)",
    ),
    "its timer raises": (
        "import machine",
        "machine.Timer(-1).init(period=5, callback=lambda t: 1 / 0)",
    ),
    "its timer calls handle": (
        "import machine",
        "machine.Timer(-1).init(period=5, callback=lambda t: ota.handle())",
    ),
    "it takes every socket and gives one back": (
        "import socket",
        "held = []\n    try:\n        while len(held) < 20: held.append(socket.socket())\n"
        "    except OSError: pass\n    held.pop().close()",
    ),
    "it breaks the settings": (
        "",
        "with open('/ota.json', 'w') as f: f.write('{')",
    ),
}
# The services turn the Wi-Fi station on again after half a minute.
OFFLINE = ("import network", "network.WLAN(network.WLAN.IF_STA).active(False)")


def clumsy(accident):
    """Return an application that does *accident*, what is imported for it and then done."""
    imports, done = accident
    return CLUMSY.format(imports=imports, accident=done)


@pytest.mark.parametrize("what", ACCIDENTS)
def test_the_next_update_gets_in(tmp_path, what):
    with Device(tmp_path, clumsy(ACCIDENTS[what])) as device:
        device.board.wait_for("that was it", timeout_s=60)
        device.update(device.next_image(APP))


@pytest.mark.long
def test_a_network_that_was_turned_off_is_joined_again(tmp_path):
    with Device(tmp_path, clumsy(OFFLINE)) as device:
        device.board.wait_for("the network is lost")
        start = device.line("that was it")
        device.board.wait_for("wifi: joined", start=start, timeout_s=60)
        device.update(device.next_image(APP))


@pytest.mark.parametrize("password", ["", "geheim"])
def test_an_application_that_stays_away_for_4_s_at_a_time_takes_updates(tmp_path, password):
    slow = APP.replace("time.sleep_ms(10)", "time.sleep_ms(4000)")
    with Device(tmp_path, slow, password=password) as device:
        device.update(device.next_image(APP))


def test_one_that_hangs_with_a_watchdog_of_its_own_is_reset_and_ends_in_safe_mode(tmp_path):
    imports, hangs = "import machine", "machine.WDT()\n    while True: pass"
    with Device(tmp_path, APP) as device:
        # The application works in its trial, and hangs in every later boot.
        wait = "\n    while ota.trial: ota.handle()\n    print('its own')\n    "
        device.update(device.next_image(clumsy((imports, wait + hangs))))
        start = device.line("its own", device.said - 1)
        device.board.wait_for("boot: 10 boots without a healthy one", start=start, timeout_s=90)
        device.board.wait_for("listens on port", start=start)
        device.update(device.next_image(APP))
