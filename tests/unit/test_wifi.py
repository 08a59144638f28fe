"""The Wi-Fi station: it is joined, joined again, and the log tells of it."""

from fake_clock import Clock
from hardware_stubs import OWN_IP, Station
from ota import OTA, hal, log
from sample_image import empty_board, runs

_SETTINGS = {"hostname": "valves", "ssid": "home", "key": "geheim"}
_AS_THE_CHIP_KNOWS = (None, None)
_CONNECTING, _WRONG_KEY, _NO_SUCH_NETWORK = 1, 2, 3


class Board(Clock):
    """A board's Wi-Fi and its clock; `lines` are the log lines."""

    def __init__(self, connected=True, **settings):
        self._settings = dict(_SETTINGS)
        self._settings.update(settings)
        Station.connected = connected
        Station.code = _CONNECTING
        Station.ssid = "home"
        del Station.joined[:]

    def __enter__(self):
        super().__enter__()
        self.lines = []
        self._real = log.info, log.error
        log.info = log.error = self._log
        empty_board()
        runs("a")
        self.ota = OTA(**self._settings)
        self.ota.begin()
        return self

    def __exit__(self, *_):
        super().__exit__()
        self.ota.arduino.end()
        log.info, log.error = self._real

    def _log(self, text, *args):
        if text[:5] == "wifi:":
            self.lines.append(text % args)

    def check_until(self, end_ms):
        """Call handle() every second; return whether there is a network at the end."""
        while self.now < end_ms:
            self.wait(1000)
            self.ota.handle()
        return self.ota.is_connected


def test_the_network_of_the_settings_is_joined_and_one_that_the_chip_knows_is_not_given_again():
    for known, given in ((None, True), ("home", False), ("old", True)):
        Station.ssid = known
        del Station.joined[:]
        hal.join("valves", "home", "geheim")
        assert Station.joined == ([("home", "geheim")] if given else []), known


def test_without_the_name_of_a_network_the_chip_joins_by_itself():
    with Board(connected=False, ssid=None) as board:
        board.check_until(100000)
        assert Station.joined == []
        assert board.lines == ["wifi: joining the network that the chip knows"]


def test_the_access_point_with_the_known_key_is_turned_off():
    Station.is_access_point_on = True
    hal.join("valves", "home", "geheim")
    assert not Station.is_access_point_on


def test_it_is_joined_again_after_every_30_s_without_a_network():
    with Board() as board:
        assert board.check_until(100000) is True
        Station.connected = False
        assert board.check_until(131000) is False
        assert Station.joined == []
        board.check_until(132000)
        assert Station.joined == [_AS_THE_CHIP_KNOWS]
        board.check_until(162000)
        assert len(Station.joined) == 1
        board.check_until(163000)
        assert len(Station.joined) == 2
        Station.connected = True
        board.check_until(300000)
        assert len(Station.joined) == 2


def test_the_key_is_written_to_the_chip_s_flash_once_in_a_boot():
    with Board(connected=False) as board:
        board.check_until(1000000)
        assert Station.joined[0] == ("home", "geheim") and len(Station.joined) > 30
        assert Station.joined[1:] == [_AS_THE_CHIP_KNOWS] * (len(Station.joined) - 1)
        Station.ssid = "another"  # to which the application has changed
        board.check_until(1031000)
        assert Station.joined[-1] == ("home", "geheim")


def test_the_key_is_given_however_late_the_application_calls_handle():
    with Board(connected=False) as board:
        board.wait(200000)
        board.ota.handle()
        assert Station.joined == [("home", "geheim")]


def test_the_log_tells_once_of_each_change():
    with Board(connected=False) as board:
        board.check_until(5000)
        Station.connected = True
        board.check_until(10000)
        assert board.ota.is_connected and board.ota.address == OWN_IP
        Station.connected = False
        board.check_until(15000)
        assert not board.ota.is_connected
        Station.connected = True
        board.check_until(20000)
    assert board.lines == [
        "wifi: joining home",
        "wifi: joined home, address " + OWN_IP,
        "wifi: the network is lost",
        "wifi: joined home, address " + OWN_IP,
    ]


def test_why_there_is_no_network_is_said_once():
    for code, words in (
        (_WRONG_KEY, "wifi: home: the key is wrong"),
        (_NO_SUCH_NETWORK, "wifi: home: there is no such network"),
    ):
        with Board(connected=False) as board:
            Station.code = code
            board.check_until(10000)
            assert board.lines[1:] == [words]
            Station.code = _CONNECTING
            board.check_until(20000)
            assert board.lines[1:] == [words]
