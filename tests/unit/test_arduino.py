"""The ArduinoOTA listener: its steps are bounded, and after its end nothing is left in memory."""

import errno
import socket

from fake_clock import Clock
from hardware_stubs import OWN_IP, Reset
from log_lines import LogLines
from ota.arduino import ArduinoOTA
from udp_stub import CLASSIC, HOST, MD5, Listener, Ota

_PORT = 8266
_OTHER = ("192.168.4.3", 50000)
_RUNNING = b"ERR: ERROR[15]: Update already running\n"


class Session:
    """A running session: each step takes *each_ms*, and returns *more*."""

    address = HOST

    def __init__(self, clock=None, each_ms=0, more=False):
        self._clock = clock
        self._each_ms = each_ms
        self._more = more
        self.steps = 0
        self.is_closed = False

    def step(self):
        self.steps += 1
        assert self.steps < 1000, "handle() does not return"
        if self._clock:
            self._clock.wait(self._each_ms)
        return self._more

    def close(self):
        self.is_closed = True


# Steps


def _handle(each_ms, more=True, **settings):
    # Returns (whether an update goes on, steps, ms) of one handle() with a session at work.
    listener = Listener(**settings)
    with Clock() as clock:
        listener.session = Session(clock, each_ms, more)
        return listener.handle(), listener.session.steps, clock.now


def test_handle_returns_after_25_ms_though_there_is_more_to_do():
    assert _handle(5) == (True, 5, 25)
    assert _handle(10) == (True, 3, 30)
    assert _handle(1) == (True, 25, 25)


def test_a_step_that_has_begun_is_finished_and_no_other_begun():
    assert _handle(400) == (True, 1, 400)


def test_how_long_it_works_is_a_setting():
    assert _handle(5, step_ms=10) == (True, 2, 10)
    assert _handle(5, step_ms=100) == (True, 20, 100)
    assert _handle(5, step_ms=0) == (True, 1, 5)


def test_it_returns_at_once_when_there_is_nothing_to_do_but_wait():
    assert _handle(1, more=False) == (True, 1, 1)


def test_without_a_session_no_update_goes_on():
    assert Listener().handle() is False


class Flood(Clock):
    """A network that always has another datagram; reading one takes a millisecond."""

    read = 0

    def poll(self, ms):
        return [1]

    ipoll = poll

    def recvfrom(self, count):
        self.read += 1
        self.wait(1)
        return b"x" * count, _OTHER


def test_a_flood_of_datagrams_does_not_keep_it():
    with Flood() as flood:
        listener = Listener()
        listener.socket = listener.poll = flood
        assert listener.handle() is False
        assert flood.now == flood.read == 25


def test_while_the_data_of_an_update_come_one_datagram_is_looked_for_in_a_call():
    with Flood() as flood:
        listener = Listener()
        listener.socket = listener.poll = flood
        for more, steps in ((True, 24), (False, 2)):
            flood.read = 0
            listener.session = session = Session(flood, 1, more)
            assert listener.handle() is True
            assert (flood.read, session.steps) == (1, steps)


# What comes while an update goes on


def test_what_is_doubled_or_strange_changes_nothing_in_a_session():
    listener = Listener()
    listener.session = session = Session()
    request = b"MPOTA status" + b" " * 244
    for data in (CLASSIC, b"200 " + MD5 + b" " + MD5, b"x", b"", b"0 ", request):
        assert listener.hears(data) == []
    for data in (CLASSIC, b"100 40001 5 " + MD5, request):
        assert listener.hears(data, _OTHER) == [(_RUNNING, _OTHER)]
    for data in (b"200 " + MD5 + b" " + MD5, b"x", b"", b"0 ", b"MPOTA "):
        assert listener.hears(data, _OTHER) == []
    assert listener.session is session and not session.is_closed


def test_who_invites_while_a_program_s_own_update_goes_on_is_told_so():
    listener = Listener(password="x")
    listener.ota.updater = object()
    assert listener.hears(CLASSIC) == [(_RUNNING, HOST)] and listener.talk is None
    listener.ota.updater = None
    assert listener.hears(CLASSIC)[0][0][:5] == b"AUTH "


def test_no_more_of_a_datagram_is_read_than_256_bytes():
    sizes = []
    listener = Listener()
    recvfrom = listener.net.recvfrom
    listener.net.recvfrom = lambda count: sizes.append(count) or recvfrom(count)
    listener.hears(b"x" * 2000)
    assert sizes == [256]


# The application was away


def test_invitations_of_hosts_that_wait_no_longer_are_dropped():
    for away_ms, is_dropped in ((10000, False), (10001, True), (3600000, True)):
        with Clock() as clock:
            listener = Listener(password="x")
            listener.handle()
            clock.wait(away_ms)
            listener.net.inbox += [(CLASSIC, HOST)] * 3
            listener.handle()
            assert (listener.net.sent == []) == is_dropped, away_ms
            assert listener.net.inbox == []
            # Whoever comes after that is heard.
            listener.handle()
            assert listener.hears(CLASSIC)[0][0][:5] == b"AUTH "


def test_there_is_an_end_to_dropping():
    with Clock() as clock:
        listener = Listener()
        listener.handle()
        clock.wait(20000)
        sizes = []
        recvfrom = listener.net.recvfrom
        listener.net.recvfrom = lambda count: sizes.append(count) or recvfrom(count)
        listener.net.inbox += [(b"x", HOST)] * 1000
        listener.handle()
        assert sizes.count(1) == 64


# Memory


def test_no_memory_for_a_datagram_is_said_once_and_keeps_nobody_from_the_next():
    def raises(count):
        raise MemoryError

    with LogLines() as said:
        listener = Listener(password="x")
        recvfrom, listener.net.recvfrom = listener.net.recvfrom, raises
        listener.net.inbox.append((CLASSIC, HOST))
        for _ in range(100):
            assert listener.handle() is False
        assert len(said.lines) == 1 and "no memory for a datagram" in said.lines[0]
        listener.net.recvfrom = recvfrom
        listener.handle()
        assert listener.net.sent[0][0][:5] == b"AUTH "
        listener.net.recvfrom = raises
        listener.net.inbox.append((CLASSIC, HOST))
        listener.handle()
        assert len([line for line in said.lines if "no memory" in line]) == 2


def test_an_answer_that_cannot_be_sent_is_logged():
    def raises(text, address):
        raise OSError(113)

    with LogLines() as said:
        listener = Listener()
        listener.net.sendto = raises
        listener.send("OK", HOST)
        assert said.lines == ["arduino: no answer sent: [Errno 113] EHOSTUNREACH"]


# begin and end


def _is_free(port=_PORT):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.bind(("", port))
    except OSError as e:
        assert e.errno == errno.EADDRINUSE
        return False
    finally:
        udp.close()
    return True


def test_end_frees_the_port_and_closes_the_session():
    for port in (_PORT, 9000):
        listener = ArduinoOTA(Ota(port=port))
        listener.handle()
        assert not _is_free(port)
        listener.session = session = Session()
        listener.end()
        assert session.is_closed and _is_free(port) and listener.is_off
        listener.end()  # once more does no harm
        assert listener.handle() is False and _is_free(port)  # it stays off


def test_it_listens_again_after_a_begin():
    listener = ArduinoOTA(Ota())
    for _ in range(3):
        listener.begin()
        assert not _is_free() and not listener.is_off
        listener.end()
        assert _is_free()


def test_a_port_that_is_taken_is_an_error_until_it_is_free():
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("", _PORT))
    listener = ArduinoOTA(Ota())
    for _ in range(100):  # none of which leaves a socket open
        try:
            listener.handle()
            raise AssertionError("no OSError")
        except OSError as e:
            assert e.errno == errno.EADDRINUSE
    taken.close()
    assert listener.handle() is False and not _is_free()
    listener.end()


def test_it_says_where_it_listens_and_whether_everyone_may_update_the_board():
    open_to_all = "arduino: no password is set: everyone on the network can update this board"
    for settings, expected in (
        ({}, [open_to_all]),
        ({"password": "x"}, []),
        ({"auth": "strict"}, []),
    ):
        with LogLines() as said:
            listener = ArduinoOTA(Ota(**settings))
            listener.begin()
            listener.end()
        assert said.lines == ["arduino: board listens on port 8266"] + expected


def test_a_talk_ends_with_the_listener():
    listener = Listener(password="x")
    listener.hears(CLASSIC)
    assert listener.talk
    listener.end()
    assert listener.talk is None and listener.net.is_closed
    listener.send("late", HOST)
    assert listener.net.sent[-1][0] != b"late"


def test_an_update_can_be_invited_over_a_real_socket():
    seen = []
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("", 40123))
    listener = ArduinoOTA(Ota())
    listener.begin_update = lambda invited, address: seen.append((invited, address))
    try:
        listener.handle()
        udp.sendto(CLASSIC, (OWN_IP, _PORT))
        for _ in range(1000):
            listener.handle()
            if seen:
                break
        assert seen == [((0, 40001, 1234, MD5.decode(), ""), (OWN_IP, 40123))]
    finally:
        listener.end()
        udp.close()


# The services alone


def test_the_update_that_was_kept_begins_when_it_listens_and_the_board_restarts_after_it():
    begun = []

    def begin(invited, address):
        begun.append((invited, address))
        listener.session = Session()

    services = Ota(password="x")
    services.is_alone = True
    services.kept = 1, ("the", "invitation"), HOST
    listener = ArduinoOTA(services)
    listener.begin_update = begin
    try:
        assert listener.handle() is True
        assert begun == [(("the", "invitation"), HOST)] and services.kept is None
        assert listener.handle() is True and len(begun) == 1
        listener.session = None
        listener.handle()
        raise AssertionError("no reset")
    except Reset:
        pass
    finally:
        listener.session = None
        listener.end()
