"""Log lines: on the serial port, and by datagrams to the address in the setting."""

import socket

from ota import log, log_host
from own_address import OWN_IP


class Host:
    """A host that receives datagrams at its `port`."""

    def __init__(self, port):
        self.port = port
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("", port))
        self._udp.settimeout(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._udp.close()
        log.sender = None

    def hears(self):
        return self._udp.recvfrom(2000)[0]


def test_without_a_host_nothing_is_sent():
    assert log.sender is None
    log.info("nobody hears %s", "this")


def test_each_line_is_sent_as_it_is_printed():
    with Host(9100) as host:
        log_host.begin("%s:9100" % OWN_IP)
        log.info("update: %d bytes announced", 888)
        assert host.hears() == b"[ota] I: update: 888 bytes announced"
        log.error("start: %s", "the application has ended")
        assert host.hears() == b"[ota] E: start: the application has ended"


def test_a_traceback_is_sent_as_a_whole():
    with Host(9101) as host:
        log_host.begin("%s:9101" % OWN_IP)
        try:
            raise ZeroDivisionError("divide by zero")
        except ZeroDivisionError as e:
            log.trace(e)
        lines = host.hears().split(b"\n")
        assert lines[0] == b"Traceback (most recent call last):"
        assert lines[-2] == b"ZeroDivisionError: divide by zero"


def test_without_a_port_it_is_8267():
    with Host(8267) as host:
        log_host.begin(OWN_IP)
        log.info("line")
        assert host.hears() == b"[ota] I: line"


def test_a_long_line_is_cut_off():
    with Host(9102) as host:
        log_host.begin("%s:9102" % OWN_IP)
        log.info("%s", "x" * 3000)
        assert host.hears() == (b"[ota] I: " + b"x" * 3000)[:1000]


def test_what_cannot_be_sent_is_lost_and_nothing_is_raised():
    for host in ("255.255.255.255:1", "127.0.0.1:99999", "999.0.0.1"):
        log_host.begin(host)
        log.info("to nobody")
        log.trace(ValueError("to nobody"))
    log.sender = None


def test_a_setting_that_is_no_address_is_named():
    lines = []
    real = log.error
    log.error = lambda text, *args: lines.append(text % args)
    for host in (
        "garden.local",
        "192.168.0",
        "192.168.0.2:",
        "192.168.0.2:x",
        ":8267",
        "1.2.3.4.5",
    ):
        log_host.begin(host)
    log.error = real
    assert len(lines) == 6 and log.sender is None
    assert lines[0].startswith("ota.json: log_host must be like 192.168.0.2 or")
