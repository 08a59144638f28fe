"""An ArduinoOTA session: which datagrams open one, and whom a failure is told."""

from ota import espota_session
from ota.callbacks import Callbacks
from ota.espota_session import open_session

_HOST = ("127.0.0.1", 40000)
_MD5 = b"0123456789abcdefABCDEF0123456789"


class Listener(Callbacks):
    """What a session uses of an espota.ArduinoOTA, of its OTA, and of its UDP socket."""

    session = None
    gate = window = None

    def __init__(self, **settings):
        self.ota = self
        self.settings = settings
        self.sent = []
        self.errors = []
        self.error_callback = self.errors.append

    def sendto(self, text, address):
        self.sent.append((text, address))


def _opens(data):
    listener = Listener()
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
