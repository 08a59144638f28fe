"""OTA: when a boot is healthy, how long a trial may last, when Wi-Fi is joined again."""

import json
import socket
import sys

import hardware_stubs
import ota
from fake_clock import Clock
from hardware_stubs import Reset, Station
from ota import hal, record, slots

_PORT = 8266
_SSID, _KEY = "home", "geheim"

with open("/ota.json", "w") as _f:
    json.dump({"ssid": _SSID, "key": _KEY}, _f)


class Board(Clock):
    """The services of a board, which have begun, and its clock; *trial* is the slot on trial."""

    def __init__(self, trial=None, **settings):
        slots.remove("/.ota")
        r = record.Record()
        r.active, r.trial, r.sequence = "a", trial, 7
        r.store()
        while sys.path[0].startswith("/.ota/"):
            sys.path.pop(0)
        if trial:
            sys.path.insert(0, "/.ota/" + trial)
        Station.connected = True
        self.ota = ota.OTA(**settings)

    def __enter__(self):
        super().__enter__()
        self.ota.begin()
        del Station.joined[:]
        hardware_stubs.Watchdog.fed = 0
        return self

    def __exit__(self, *_):
        super().__exit__()
        self.ota.arduino.end()

    def handle_until(self, end_ms, step_ms=1000):
        """Let the application call handle() every *step_ms*, the last time at *end_ms*."""
        while self.now < end_ms:
            self.wait(step_ms)
            self.ota.handle()

    def handle_until_reset(self, step_ms=500):
        """Call it until the board resets; return when that is."""
        try:
            self.handle_until(10000000, step_ms)
        except Reset:
            return self.now
        raise AssertionError("no reset")

    @property
    def is_on_trial(self):
        r = record.load()
        assert (r.active, r.trial) in (("a", "b"), ("b", None))
        return bool(r.trial)


def test_handle_begins_if_the_application_has_not():
    services = Board().ota
    assert not services.is_updating
    services.handle()
    assert services.arduino and not services.is_updating
    services.arduino.end()


# Health


def test_a_trial_is_confirmed_after_60_healthy_seconds_unless_set_otherwise():
    for settings, ms in (({}, 60000), ({"confirm_s": 120}, 120000), ({"confirm_s": 0.5}, 500)):
        with Board("b", **settings) as board:
            board.handle_until(ms - 100, 100)
            assert board.is_on_trial and not board.ota.healthy
            board.handle_until(ms, 100)
            assert not board.is_on_trial and board.ota.healthy


def test_a_boot_counts_as_healthy_after_60_seconds():
    with Board() as board:
        hal.set_counters(4, 0)
        board.handle_until(59000)
        assert hal.counters() == (4, 0)
        board.handle_until(60000)
        assert hal.counters() == (0, 0)


def test_an_application_that_was_away_for_more_than_5_s_begins_anew():
    for away_ms, healthy in ((5000, True), (5001, False)):
        with Board() as board:
            board.handle_until(40000)
            board.handle_until(40000 + away_ms, away_ms)
            board.handle_until(60500, 500)
            assert board.ota.healthy is healthy, away_ms


def test_a_moment_without_a_network_begins_anew():
    with Board() as board:
        board.handle_until(40000)
        Station.connected = False
        board.handle_until(41000)
        Station.connected = True
        board.handle_until(100000)
        assert not board.ota.healthy
        board.handle_until(101000)
        assert board.ota.healthy


def test_a_listener_that_raises_is_not_healthy():
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with Board("b") as board:
        taken.bind(("", _PORT))  # so that the board's own cannot listen
        board.handle_until(300000, 5000)
        assert board.is_on_trial and not board.ota.healthy
        taken.close()
        board.handle_until(359000)
        assert board.is_on_trial and not board.ota.healthy
        board.handle_until(360000)
        assert not board.is_on_trial and board.ota.healthy


# The trial


def test_a_trial_that_is_not_confirmed_ends_after_600_seconds_unless_set_otherwise():
    for settings, ms in (({}, 600000), ({"trial_s": 70}, 70000)):
        with Board("b", **settings) as board:
            board.ota.auto_confirm = False
            assert board.handle_until_reset() == ms + 500
            assert board.is_on_trial  # boot counts the tries


def test_a_trial_without_a_network_ends_too():
    with Board("b") as board:
        Station.connected = False
        assert board.handle_until_reset() == 600500


def test_a_confirmed_version_has_no_end():
    with Board() as board:
        board.handle_until(2000000)


def test_the_watchdog_is_fed_by_every_handle_of_a_trial_and_armed_in_no_other():
    for trial, fed in (("b", 7), (None, 0)):
        with Board(trial) as board:
            board.handle_until(7000)
            assert hardware_stubs.Watchdog.fed == fed


# Wi-Fi


def test_wifi_is_joined_again_after_every_30_s_without_a_network():
    with Board() as board:
        board.handle_until(100000)
        assert Station.joined == []
        Station.connected = False
        board.handle_until(130000)
        assert Station.joined == []
        board.handle_until(131000)
        assert Station.joined == [(_SSID, _KEY)]
        board.handle_until(161000)
        assert len(Station.joined) == 1
        board.handle_until(162000)
        assert len(Station.joined) == 2
        Station.connected = True
        board.handle_until(300000)
        assert len(Station.joined) == 2


def test_without_the_name_of_a_network_the_chip_joins_by_itself():
    with Board(ssid=None) as board:
        Station.connected = False
        board.handle_until(100000)
        assert Station.joined == []
