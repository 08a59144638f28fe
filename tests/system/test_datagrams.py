"""Random datagrams to an idle board: nothing happens, and no memory is lost."""

import random

from device import APP, Device
from raw_host import RawHost

DATAGRAMS, BURST = 2000, 100
SEED = 8266
# This application has no pause in its loop.
QUICK = APP.replace("        time.sleep_ms(10)\n", "")


def almost_an_invitation(numbers, port):
    """Return a good invitation with one to three bytes changed, added or taken away."""
    size = numbers.choice([0, 5_000_000, 10**15])  # no update of such a size can begin
    data = bytearray(b"0 %d %d %s\n" % (port, size, b"%032x" % numbers.getrandbits(128)))
    for _ in range(numbers.randint(1, 3)):
        at = numbers.randrange(2, len(data))
        change = numbers.choice(["set", "insert", "delete", "split"])
        if change == "set":
            data[at] = numbers.randrange(256)
        elif change == "insert":
            data[at:at] = numbers.randbytes(numbers.randint(1, 8))
        elif change == "delete":
            del data[at : at + numbers.randint(1, 4)]
        else:
            data[at:at] = b" "
    return bytes(data)


def any_datagram(numbers, port):
    kind = numbers.randrange(3)
    if kind == 0:
        return numbers.randbytes(numbers.randrange(600))
    if kind == 1:
        return numbers.choice([b"0 ", b"100 ", b"200 "]) + numbers.randbytes(numbers.randrange(99))
    return almost_an_invitation(numbers, port)


def test_random_datagrams_do_an_idle_board_no_harm(tmp_path):
    numbers = random.Random(SEED)
    with Device(tmp_path, QUICK) as device, device.unharmed(), RawHost(device.board.ip) as host:
        device.app = APP
        for _ in range(DATAGRAMS // BURST):
            for _ in range(BURST):
                host.say(any_datagram(numbers, host.port))
            wait_until_idle(device, host)


def wait_until_idle(device, host):
    # The answer to an invitation of zero bytes comes when the board has read all that was sent
    # before it.
    with RawHost(device.board.ip) as probe:
        while True:
            probe.invite(0)
            if "ERROR[5]" in probe.answer():
                return
