"""An ArduinoOTA session: which datagrams open one, and whom a failure is told."""

import ota
from fake_clock import Clock
from ota import Callbacks, espota_session
from ota.espota_invitation import open_session

# The tests go on using what they imported, where the board forgets it after each session.
ota.forget_modules = lambda *names: None

_HOST = ("127.0.0.1", 40000)
_MD5 = b"0123456789abcdefABCDEF0123456789"
_SHA256 = _MD5 + _MD5


class Listener(Callbacks):
    """What a session uses of an espota.ArduinoOTA, of its OTA, and of its UDP socket."""

    session = None
    failures = 0
    gate = window = None

    def __init__(self, **settings):
        self.ota = self
        self.settings = settings
        self.sent = []
        self.errors = []
        self.error_callback = self.errors.append

    def sendto(self, text, address):
        self.sent.append((text, address))


def _opens(data, **settings):
    listener = Listener(**settings)
    open_session(listener, listener, data, _HOST)
    assert listener.sent == []
    return listener.session is not None


def test_an_invitation_opens_a_session():
    for data in (
        b"0 40001 1234 " + _MD5 + b"\n",
        b"0 40001 1234 " + _MD5,
        b"100 1024 0 " + _MD5 + b"\n",
        b"0  65535\t99999999999 " + _MD5 + b"\r\n",
    ):
        assert _opens(data), data


def test_anything_else_gets_no_session_and_no_answer():
    for data in (
        b"",
        b"0 ",
        b"0 40001 1234\n",
        b"0 40001 1234 " + _MD5 + b" 2\n",
        b"0 40001 1234 " + _MD5[:31] + b"\n",
        b"0 40001 1234 " + _MD5 + b"0\n",
        b"0 40001 1234 " + _MD5[:31] + b"g\n",
        b"0 40001 1234 " + b"\xff" * 32 + b"\n",
        b"0 x 1234 " + _MD5,
        b"0 40001 x " + _MD5,
        b"0 40001 -1 " + _MD5,
        b"0 -1 1234 " + _MD5,
        b"0 0 1234 " + _MD5,
        b"0 22 1234 " + _MD5,
        b"0 1023 1234 " + _MD5,
        b"0 65536 1234 " + _MD5,
        b"0 " + b"9" * 200 + b" 1234 " + _MD5,
        b"0 40001 " + b"9" * 60 + b" " + _MD5,
        b"0 40001 1234 " + _MD5 + b" " * 100,
    ):
        assert not _opens(data), data


def test_an_invitation_to_the_stronger_handshake_has_six_words():
    for settings in (
        {},
        {"password": "x"},
        {"password_sha256": "0" * 64},
        {"password_hash": "0" * 32, "password": "x"},
        {"password_hash": "0" * 32, "password_sha256": "0" * 64},
    ):
        for data, good in (
            (b"0 40001 1234 " + _MD5 + b" 2 " + _SHA256 + b"\n", True),
            (b"100 65535 99999999999 " + _MD5 + b" 2 " + _SHA256, True),
            (b"0 40001 1234 " + _MD5 + b" 1 " + _SHA256, False),
            (b"0 40001 1234 " + _MD5 + b" 2" + _SHA256, False),
            (b"0 40001 1234 " + _MD5 + b" 2 " + _SHA256[1:], False),
            (b"0 40001 1234 " + _MD5 + b" 2 " + _SHA256 + b"0", False),
            (b"0 40001 1234 " + _MD5 + b" 2 " + _SHA256[1:] + b"g", False),
            (b"0 40001 1234 " + _MD5[1:] + b" 2 " + _SHA256, False),
            (b"0 40001 1234 " + _MD5 + b" 2 " + _SHA256 + b" x", False),
            (b"0 1023 1234 " + _MD5 + b" 2 " + _SHA256, False),
            (b"0 40001 1234 " + _MD5 + b" 2 " + _SHA256 + b" " * 100, False),
        ):
            assert _opens(data, **settings) is good, (settings, data)


def test_a_board_with_an_md5_alone_cannot_take_part_in_it():
    assert not _opens(b"0 40001 1 " + _MD5 + b" 2 " + _SHA256, password_hash="0" * 32)
    assert _opens(b"0 40001 1 " + _MD5, password_hash="0" * 32)


_INVITATION = b"0 40001 1234 " + _MD5


def _waiting():
    # A session that has asked for the password.
    listener = Listener(password="x")
    open_session(listener, listener, _INVITATION, _HOST)
    listener.session.step()
    assert listener.sent[-1][0][:5] == b"AUTH "
    return listener


def test_the_host_may_begin_anew_before_it_has_proved_the_password():
    listener = _waiting()
    session = listener.session
    session.take_datagram(_INVITATION, _HOST)
    assert listener.session is not session
    listener.session.step()
    assert len(listener.sent) == 2 and listener.sent[0] != listener.sent[1]


# The same computer, but for all the board knows another program or a forged address.
_OTHERS = (("127.0.0.1", 40001), ("127.0.0.2", 40000), ("127.0.0.2", 40001))


def test_nobody_else_takes_over_a_session_that_waits_for_its_answer():
    for other in _OTHERS:
        listener = _waiting()
        session = listener.session
        challenge = listener.sent[-1]
        session.take_datagram(_INVITATION, other)
        assert listener.session is session
        session.step()
        # Whatever the other is told, it is no challenge, and the host's own is good as it was.
        assert listener.session is session and listener.sent[0] is challenge
        for text, address in listener.sent[1:]:
            assert address == other and text[:4] == "ERR:"
        session.take_datagram(b"200 %s %s\n" % (_MD5, _MD5), _HOST)
        assert session.answer == [b"200", _MD5, _MD5]


def test_it_keeps_others_away_for_2_s_however_often_its_host_asks_again():
    for other in _OTHERS:
        for asks_again in (False, True):
            with Clock() as clock:
                listener = _waiting()
                while clock.now < 1900:
                    clock.wait(100)
                    if asks_again:
                        listener.session.take_datagram(_INVITATION, _HOST)
                    listener.session.take_datagram(_INVITATION, other)
                    listener.session.step()
                    assert listener.session.address == _HOST, clock.now
                clock.wait(100)
                listener.session.take_datagram(_INVITATION, other)
                assert listener.session.address == other


def test_what_only_begins_like_an_invitation_does_not_end_the_session():
    listener = _waiting()
    session = listener.session
    for data in (b"0 ", b"0 x", b"100 80 1 " + _MD5, _INVITATION + b" 2", b"0 40001 1234 x"):
        session.take_datagram(data, _HOST)
        assert listener.session is session
        session.step()
        assert listener.session is session
    assert len(listener.sent) == 1


def test_an_answer_counts_from_the_hosts_own_address_and_port_only():
    listener = _waiting()
    session = listener.session
    answer = b"200 %s %s\n" % (_MD5, _MD5)
    for address in (("127.0.0.1", 40001), ("127.0.0.2", 40000)):
        session.take_datagram(answer, address)
        assert session.answer is None
    session.take_datagram(b"200 " + b"x" * 136, _HOST)
    assert session.answer is None
    session.take_datagram(answer, _HOST)
    assert session.answer == [b"200", _MD5, _MD5]


def test_a_delay_is_not_begun_anew_by_another_invitation():
    listener = Listener(password="x")
    listener.failures = 5
    open_session(listener, listener, _INVITATION, _HOST)
    session = listener.session
    session.step()
    session.take_datagram(_INVITATION, _HOST)
    again = listener.session
    assert again is not session and again.ask_at == session.ask_at is not None
    again.step()
    assert listener.sent == [] and again.ask_at == session.ask_at
    # Nor is one left over for the host after it.
    listener.session = None
    open_session(listener, listener, _INVITATION, _HOST)
    assert listener.session.ask_at is None


def _run(listener):
    # Steps a session that is opened now to its end; returns what was sent.
    open_session(listener, listener, b"0 40001 1234 " + _MD5, _HOST)
    session = listener.session
    for _ in range(10000):
        if listener.session is None:
            return session
        session.step()
    raise AssertionError("no end")


def test_an_update_that_is_not_allowed_is_answered_and_the_application_told():
    listener = Listener()
    listener.gate = lambda: False
    _run(listener)
    assert listener.sent == [("ERR: ERROR[33]: Updates are not allowed now\n", _HOST)]
    # Twice, since it stands for the OTA and for the service here.
    assert listener.errors == [1, 1]


def test_too_little_memory_for_the_handshake_is_answered_and_the_application_told():
    class NoMemory(dict):
        def get(self, key, default=None):
            raise MemoryError

    listener = Listener()
    listener.settings = NoMemory()
    _run(listener)
    assert listener.sent == [("ERR: ERROR[14]: Out of memory\n", _HOST)]
    assert listener.errors == [0, 0]


def test_too_little_memory_for_the_connection_is_told_to_the_application():
    def no_memory(session):
        session.stage = 2
        raise MemoryError
        yield

    listener = Listener()

    # An Updater that begins without flash.
    class Updater:
        def __init__(self, ota, callbacks):
            pass

        def begin(self, size, command):
            pass

        set_md5 = abort = lambda *args: None

        def call(self, event, *args):
            listener.errors.append((event,) + args)

    real = espota_session.Updater
    espota_session.Updater = Updater
    transfer = espota_session.Session._transfer
    espota_session.Session._transfer = no_memory
    try:
        _run(listener)
    finally:
        espota_session.Updater = real
        espota_session.Session._transfer = transfer
    assert listener.errors == [("error", 2)]
    assert listener.sent == [("OK", _HOST)]
