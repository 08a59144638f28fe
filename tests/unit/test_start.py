"""What main.py runs: the application with the services beside it, or for a while these alone."""

import asyncio  # noqa: F401 - before the clock is another one: it keeps the function
import json
import os
import socket
import sys

from fake_clock import Clock
from hardware_stubs import OWN_IP, Reset

_FIVE_MINUTES_MS = 300000
_TEN_UNHEALTHY = 10

_RAISE = (
    "raise ValueError('broken')",
    "def main(ota):\n    ota.handle()\n    1 / 0",
    "async def main(ota):\n    1 / 0",
)

# What the application does when it is imported.
_STARTS = "from test_start import started\nstarted.append(1)\n"
started = []


class Board(Clock):
    """A board with *application* in slot a, *boots* unhealthy boots, and the clock it goes by."""

    _port = 9000

    def __init__(self, application, boots=0):
        from ota import hal, slots
        from ota.record import Record

        slots.remove("/.ota")
        r = Record()
        r.active = "a"
        r.store()
        os.mkdir("/.ota/a")
        with open("/.ota/a/app.py", "w") as f:
            f.write(_STARTS + application)
        hal.set_counters(boots, 0)
        Board._port += 1  # that of the board before is still taken: no chip was reset
        with open("/ota.json", "w") as f:
            json.dump({"ssid": "home", "port": Board._port}, f)
        self._host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._host.settimeout(10)
        self._invite_ms = None
        self.reset_ms = 1 << 30  # when somebody presses the reset button, if not before

    def invite_at(self, ms):
        """Let a host invite the board when it is *ms*, to an update of no bytes."""
        self._invite_ms = ms

    def wait(self, ms):
        if self._invite_ms is not None and self.now >= self._invite_ms:
            self._invite_ms = None
            self._host.sendto(b"0 40000 0 " + b"0" * 32, (OWN_IP, self._port))
        super().wait(ms)
        if self.now >= self.reset_ms:
            raise Reset

    def answer(self):
        """Return what the board answered to the invitation."""
        return self._host.recvfrom(256)[0]

    def run_to_reset(self):
        """Do what boot.py and main.py do; return after how many milliseconds the board resets."""
        from ota import boot, start

        sys.modules.pop("app", None)
        del started[:]
        boot.decide()
        with self:
            begun = self.now
            try:
                start.run()
            except Reset:
                return self.now - begun
        raise AssertionError("it returned")


def _boots():
    from ota import hal

    return hal.counters()[0]


def _in_5_minutes(ms):
    return _FIVE_MINUTES_MS <= ms < _FIVE_MINUTES_MS + 100


def test_after_an_application_that_raises_the_services_run_for_5_minutes():
    for application in _RAISE:
        board = Board(application)
        board.invite_at(299000)
        assert _in_5_minutes(board.run_to_reset()), application
        assert started and b"ERROR[5]" in board.answer()


def test_a_boot_whose_application_raised_is_not_a_healthy_one():
    board = Board(_RAISE[0], boots=3)
    board.run_to_reset()
    assert _boots() == 4


def test_in_safe_mode_the_services_run_for_5_minutes_and_the_application_does_not():
    board = Board(_RAISE[0], boots=_TEN_UNHEALTHY)
    board.invite_at(299000)
    assert _in_5_minutes(board.run_to_reset())
    assert not started and b"ERROR[5]" in board.answer()
    # Which was no healthy boot: the next one tries the application, once.
    assert _boots() == _TEN_UNHEALTHY - 1
    board = Board(_RAISE[0], boots=_boots())
    board.run_to_reset()
    assert started and _boots() == _TEN_UNHEALTHY


def test_after_an_application_that_returns_the_services_run_on():
    for application in ("def main(ota):\n    pass", "async def main(ota):\n    pass"):
        board = Board(application)
        board.reset_ms = _FIVE_MINUTES_MS * 4
        board.invite_at(board.reset_ms - 1000)
        assert board.run_to_reset() >= board.reset_ms
        assert b"ERROR[5]" in board.answer() and _boots() == 0
