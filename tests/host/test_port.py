"""Serial ports: which are there, and why one cannot be opened."""

import errno
import types

import pytest
import serial
from mpota.board import port
from mpota.cli.port import chosen_port
from mpota.errors import CommandError
from serial.tools import list_ports


class _Info(types.SimpleNamespace):
    def __lt__(self, other):
        return self.device < other.device


@pytest.fixture
def plugged_in(monkeypatch):
    def plug(*devices):
        ports = [_Info(device=d, vid=0x1A86, description="USB Serial") for d in devices]
        ports.append(_Info(device="/dev/ttyS0", vid=None, description="n/a"))  # built in
        monkeypatch.setattr(list_ports, "comports", lambda: ports)

    return plug


def test_the_only_adapter_is_taken(plugged_in):
    plugged_in("/dev/ttyUSB0")
    assert port.only_port() == "/dev/ttyUSB0"


def test_where_there_is_none_or_more_than_one_they_are_told(plugged_in):
    plugged_in()
    with pytest.raises(CommandError, match="no serial adapter is plugged in"):
        port.only_port()
    plugged_in("/dev/ttyUSB1", "/dev/ttyUSB0")
    with pytest.raises(
        CommandError, match=r"/dev/ttyUSB0 \(USB Serial\), /dev/ttyUSB1 .*choose with --port"
    ):
        port.only_port()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (serial.SerialException(errno.ENOENT, "No such file"), "there is no port"),
        (serial.SerialException(errno.EACCES, "Permission denied"), "usermod -aG dialout"),
        (serial.SerialException("Could not exclusively lock port"), "in use by another program"),
        (serial.SerialException(errno.EBUSY, "busy"), "in use by another program"),
        (
            serial.SerialException(
                "could not open port 'COM3': PermissionError(13, 'Zugriff verweigert', None, 5)"
            ),
            "in use by another program",
        ),
        (OSError(errno.EIO, "Input/output error"), "check the port and the cable"),
    ],
)
def test_why_a_port_cannot_be_opened_is_told_with_what_to_do(monkeypatch, error, said):
    def fail(self):
        raise error

    monkeypatch.setattr(serial.Serial, "open", fail)
    with pytest.raises(CommandError, match=said) as refused:
        port.open_port("/dev/ttyUSB7")
    assert "/dev/ttyUSB7" in str(refused.value)


def test_lines_are_set_when_the_port_is_opened():
    with port.open_port("loop://", dtr=False, rts=False) as connection:
        assert (connection.dtr, connection.rts) == (False, False)
    with port.open_port("loop://") as connection:
        assert (connection.dtr, connection.rts) == (True, True)


def test_at_a_terminal_the_port_is_asked_for(plugged_in, monkeypatch, capsys):
    plugged_in("/dev/ttyUSB1", "/dev/ttyUSB0")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for typed, expected in ((1, "/dev/ttyUSB0"), (2, "/dev/ttyUSB1")):
        monkeypatch.setattr("typer.prompt", lambda text, type, typed=typed: typed)
        assert chosen_port("") == expected
    assert "2  /dev/ttyUSB1 (USB Serial)" in capsys.readouterr().out
    monkeypatch.setattr("typer.prompt", lambda text, type: 3)
    with pytest.raises(CommandError, match="no port number 3"):
        chosen_port("")
    assert chosen_port("/dev/ttyACM0") == "/dev/ttyACM0"
