"""What main.py runs: the application beside the services, or the services alone for a while."""

import asyncio  # noqa: F401 - before the clock is another one: it keeps the function
import json
import os
import socket
import sys

from fake_clock import Clock
from hardware_stubs import OWN_IP, Reset, Station
from ota import mdns
from sample_image import empty_board, fill_slot, image, marks_of

# It has tests of its own, and there are no other boards.
mdns.Mdns.handle = lambda self: False

_FIVE_MINUTES_MS = 300000
_ONE_MINUTE_MS = 60000
_TEN_UNHEALTHY = 10
# How many times as long as it asked for a board sleeps, so that five minutes have fewer steps.
_HASTE = 200

# Before handle() was called, and so before there is a network; and after.
_RAISE = (
    "raise ValueError('broken')",
    "def main(ota):\n    raise SystemExit",
    "nothing = 1",
)
_RAISE_LATER = (
    "def main(ota):\n    ota.handle()\n    1 / 0",
    "async def main(ota):\n    1 / 0",
    "import asyncio\nasync def main(ota):\n    raise asyncio.CancelledError",
)

# What the application does when it is imported.
_STARTS = "from test_start import started\nstarted.append(1)\n"
started = []


class Board(Clock):
    """A board with *application* in slot a, *boots* unhealthy boots, and the clock it goes by."""

    def __init__(self, application, boots=0, trial=False):
        from ota import hal
        from ota.record import Record

        empty_board()
        fill_slot("a", image(7))
        fill_slot("b", image(8))
        r = Record()
        r.active = "b" if trial else "a"
        r.trial = "a" if trial else None
        r.received = {"a": (7, 1, b""), "b": (8, 1, b"")}
        r.store()
        with open("/tests/app.py", "w") as f:
            f.write(_STARTS + application)
        hal.set_state(boots, hal.NOTHING)
        self.port = 9000
        with open("/ota.json", "w") as f:
            json.dump({"ssid": "home", "port": self.port}, f)
        self._host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._host.settimeout(10)
        self._invite_ms = None
        self._join_ms = 0
        self.reset_ms = 1 << 29  # when somebody presses the reset button, if not before

    def invite_at(self, ms):
        """Let a host invite the board at the time *ms*, to an update of no bytes."""
        self._invite_ms = ms

    def join_at(self, ms):
        """Let there be no network before the time *ms*."""
        self._join_ms = ms

    def wait(self, ms):
        Station.connected = self.now >= self._join_ms
        if self._invite_ms is not None and self.now >= self._invite_ms:
            self._invite_ms = None
            self._host.sendto(b"0 40000 0 " + b"0" * 32, (OWN_IP, self.port))
        super().wait(ms * _HASTE)
        if self.now >= self.reset_ms:
            raise Reset

    def answer(self):
        """Return what the board answered to the invitation."""
        return self._host.recvfrom(256)[0]

    def run_to_reset(self):
        """Do what boot.py and main.py do; return after how many milliseconds the board resets."""
        from ota import boot, slots, start

        # The slot is mounted as ever, and the application comes from /tests.
        slots.mount = lambda slot: None
        sys.modules.pop("app", None)
        path = list(sys.path)
        del started[:]
        boot.decide()
        made = []
        real = start.OTA
        start.OTA = lambda: made.append(real()) or made[0]
        Station.connected = not self._join_ms
        with self:
            begun = self.now
            try:
                start.run()
            except Reset:
                return self.now - begun
            finally:
                start.OTA = real
                sys.path[:] = path
                made[0].arduino.end()  # a reset closes its port
        raise AssertionError("it returned")


def _boots():
    from ota import hal

    return hal.get_state()[0]


def _is_about(ms, expected_ms):
    return expected_ms <= ms < expected_ms + 5000


def test_after_an_application_that_raises_the_services_run_for_5_minutes():
    for application in _RAISE_LATER:
        board = Board(application)
        board.invite_at(290000)
        assert _is_about(board.run_to_reset(), _FIVE_MINUTES_MS), application
        assert started and b"ERROR[5]" in board.answer()


def test_after_one_that_raises_without_a_network_for_a_minute_of_network_at_most():
    for application in _RAISE:
        board = Board(application)
        board.invite_at(50000)
        assert _is_about(board.run_to_reset(), _ONE_MINUTE_MS), application
        assert started and b"ERROR[5]" in board.answer()
    for joins_ms, reset_ms in ((100000, 160000), (1000000, _FIVE_MINUTES_MS)):
        board = Board(_RAISE[0])
        board.join_at(joins_ms)
        assert _is_about(board.run_to_reset(), reset_ms), joins_ms


def test_a_boot_whose_application_raised_is_not_a_healthy_one():
    board = Board(_RAISE[0], boots=3)
    board.run_to_reset()
    assert _boots() == 4


def test_a_trial_whose_application_raises_is_taken_back_at_once():
    from ota.record import load

    for application in _RAISE + _RAISE_LATER:
        board = Board(application, trial=True)
        assert board.run_to_reset() < 1000, application
        assert (load().active, load().trial, load().rejected) == ("b", None, 7)
        assert load().outcome.startswith("taken back: 7: raised "), load().outcome
        assert marks_of("a") == b"ACPTRJCT"


def test_in_safe_mode_the_services_run_and_the_application_does_not():
    board = Board(_RAISE[0], boots=_TEN_UNHEALTHY)
    board.invite_at(50000)
    assert _is_about(board.run_to_reset(), _ONE_MINUTE_MS)
    assert not started and b"ERROR[5]" in board.answer()
    # Which was no healthy boot: the next one tries the application, once.
    assert _boots() == _TEN_UNHEALTHY - 1
    board = Board(_RAISE[0], boots=_boots())
    board.run_to_reset()
    assert started and _boots() == _TEN_UNHEALTHY


def test_after_an_application_that_returns_the_services_run_on():
    board = Board("def main(ota):\n    pass")  # what it has set up are timers, say
    board.reset_ms = _FIVE_MINUTES_MS * 4
    board.invite_at(board.reset_ms - 10000)
    assert board.run_to_reset() >= board.reset_ms
    assert b"ERROR[5]" in board.answer() and _boots() == 0


def test_an_async_application_that_returns_counts_as_one_that_raised():
    application = "async def main(ota):\n    pass"
    board = Board(application)
    board.invite_at(_FIVE_MINUTES_MS - 10000)
    assert _is_about(board.run_to_reset(), _FIVE_MINUTES_MS)
    assert b"ERROR[5]" in board.answer() and _boots() == 1


def test_an_async_application_has_the_services_beside_it():
    application = (
        "import asyncio\n"
        "from test_start import started\n"
        "async def main(ota):\n"
        "    assert ota.arduino and not ota.is_updating\n"
        "    for i in range(5):\n"
        "        await asyncio.sleep_ms(1)\n"
        "    assert ota.arduino.socket\n"
        "    started.append('beside it')\n"
    )
    board = Board(application)
    board.reset_ms = _FIVE_MINUTES_MS
    board.run_to_reset()
    assert started == [1, "beside it"]


def test_asked_to_run_alone_the_services_wait_for_a_network_for_a_minute_at_most():
    from ota import hal

    for joins_ms, reset_ms in ((0, 0), (30000, 30000), (1000000, _ONE_MINUTE_MS)):
        board = Board(_RAISE[0])
        board.join_at(joins_ms)
        hal.set_state(2, hal.ASKED)
        # Nothing was kept of an update, so it restarts as soon as it could take one.
        assert _is_about(board.run_to_reset(), reset_ms)
        assert not started and _boots() == 2


def test_a_board_without_an_application_runs_the_services():
    board = Board("pass")
    os.remove("/.ota/record")
    empty_board()
    board.invite_at(1000)
    assert _is_about(board.run_to_reset(), _ONE_MINUTE_MS)
    assert not started and b"ERROR[5]" in board.answer()


def test_settings_that_are_wrong_keep_no_service_from_starting():
    for content in (
        "",
        "[",
        '{"hostname": "%s"}' % ("x" * 33),
        '{"hostname": 5}',
        '{"port": "x", "step_ms": "fast", "confirm_s": [], "trial_s": null}',
        '{5: 5, "ssid": 5, "key": {}}',
    ):
        board = Board("pass")
        empty_board()
        for path in ("/ota.json", "/.ota/settings"):
            with open(path, "w") as f:
                f.write(content)
        board.port = 8266  # the default
        board.invite_at(1000)
        assert _is_about(board.run_to_reset(), _ONE_MINUTE_MS), content
        answer = board.answer()
        assert b"ERROR[5]" in answer or b"SHA-256 authentication" in answer, content
