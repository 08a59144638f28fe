"""The ArduinoOTA listener: its steps are bounded, and its end leaves nothing behind."""

import errno
import socket

from fake_clock import Clock
from ota import Callbacks
from ota.espota import ArduinoOTA
from own_address import OWN_IP

_PORT = 8266


class Ota(Callbacks):
    """What the listener uses of `ota.OTA`."""

    gate = window = None

    def __init__(self, **settings):
        self.settings = {"hostname": "board"}
        self.settings.update(settings)


class Session:
    """Each step takes *each_ms*; *more* says after each whether there is more to do."""

    def __init__(self, clock, each_ms, more=True):
        self._clock = clock
        self._each_ms = each_ms
        self._more = more
        self.steps = 0
        self.closed = False

    def step(self):
        self.steps += 1
        assert self.steps < 1000, "handle() does not return"
        self._clock.wait(self._each_ms)
        return self._more

    def close(self):
        self.closed = True


def _handle(each_ms, more=True, **settings):
    # Returns (whether there is more, steps, ms) of one handle() with a session at work.
    listener = ArduinoOTA(Ota(**settings))
    try:
        listener.handle()
        with Clock() as clock:
            listener.session = Session(clock, each_ms, more)
            busy = listener.handle()
            return busy, listener.session.steps, clock.now
    finally:
        listener.session = None
        listener.end()


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


def test_without_a_session_there_is_nothing_more_to_do():
    listener = ArduinoOTA(Ota())
    assert listener.handle() is False
    listener.end()


def test_end_frees_the_port_and_closes_the_session():
    for port in (_PORT, 9000):
        listener = ArduinoOTA(Ota(port=port))
        listener.handle()
        assert not _is_free(port)
        listener.session = session = Session(None, 0)
        listener.end()
        assert session.closed and _is_free(port)
        listener.end()  # once more does no harm
        assert listener.handle() is False and _is_free(port)  # it stays off


def test_it_listens_again_after_a_begin():
    listener = ArduinoOTA(Ota())
    for _ in range(3):
        listener.begin()
        assert not _is_free()
        listener.end()
        assert _is_free()


def test_end_discards_an_update_that_has_begun():
    # A session of its own: it takes the connection, half of the image, and then the end.
    from ota.updater import STAGING

    host = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    host.bind(("", 40001))
    host.listen(1)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener = ArduinoOTA(Ota())
    listener.handle()
    udp.sendto(b"0 40001 5000 " + b"0" * 32, (OWN_IP, _PORT))
    while listener.session is None or listener.session.tcp is None:
        listener.handle()
    tcp = host.accept()[0]
    tcp.settimeout(10)
    tcp.write(b"M" * 1000)
    while listener.session.updater.progress < 1000:
        listener.handle()
    open(STAGING, "rb").close()  # it is there
    listener.end()
    assert listener.session is None and _is_free()
    try:
        open(STAGING, "rb")
        raise AssertionError("the staging file is still there")
    except OSError as e:
        assert e.errno == errno.ENOENT
    assert tcp.read(16) == b"1000"  # and then the connection is closed
    for s in (tcp, host, udp):
        s.close()
