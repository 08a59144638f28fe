"""A board for tests: it speaks ArduinoOTA on 127.0.0.2 over real sockets, as a script tells it.

The script runs in a thread of its own; every wait of it is bounded.
"""

import hashlib
import random
import re
import socket
import struct
import threading
from dataclasses import dataclass

import pytest
from mpota import espota
from mpota.transfer import CHUNK

BOARD_IP, STRANGER_IP = "127.0.0.2", "127.0.0.9"
NONCE = "0123456789abcdef0123456789abcdef"
IMAGE = random.Random(1).randbytes(3 * CHUNK + 100)
_PATIENCE_S = 5


@dataclass
class Invited:
    """An invitation as it arrived."""

    command: int
    port: int
    size: int
    md5: str
    sender: tuple[str, int]


class ScriptedBoard:
    """Run `script(board)` while the context is open; its exception comes out at the end."""

    def __init__(self, script, ip=BOARD_IP):
        self.ip = ip
        self.image = b""
        self.invitations = []
        self._script = script
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((ip, 0))
        self._udp.settimeout(_PATIENCE_S)
        self.port = self._udp.getsockname()[1]
        self.tcp = None
        self._failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self._thread.join(2 * _PATIENCE_S)
        for open_socket in (self._udp, self.tcp):
            if open_socket:
                open_socket.close()
        assert not self._thread.is_alive(), "the script hangs"
        if self._failure:
            raise self._failure from error

    def _run(self):
        try:
            self._script(self)
        except BaseException as error:  # noqa: B036 - handed to the test's own thread
            self._failure = error

    def invited(self):
        """Wait for an invitation."""
        text, sender = self._udp.recvfrom(512)
        fields = re.fullmatch(rb"(0|100) (\d+) (\d+) ([0-9a-f]{32})\n", text)
        assert fields, text
        command, port, size = (int(field) for field in fields.groups()[:3])
        self.invitations.append(Invited(command, port, size, fields[4].decode(), sender))
        return self.invitations[-1]

    def invited_again(self, within_s):
        """Tell whether one more invitation comes in time."""
        self._udp.settimeout(within_s)
        try:
            return bool(self._udp.recv(512))
        except (TimeoutError, BlockingIOError):
            return False
        finally:
            self._udp.settimeout(_PATIENCE_S)

    def say(self, text):
        """Answer the last invitation's sender by UDP."""
        data = text if isinstance(text, bytes) else text.encode()
        self._udp.sendto(data, self.invitations[-1].sender)

    def response(self):
        """Wait for the answer to a nonce; give cnonce and response."""
        while not (text := self._udp.recv(512)).startswith(b"200 "):
            assert text.startswith(b"0 "), text  # an invitation sent before the nonce arrived
        fields = re.fullmatch(rb"200 ([0-9a-f]{32}) ([0-9a-f]{32})\n", text)
        assert fields, text
        return fields[1].decode(), fields[2].decode()

    def authenticated(self, password, nonce=NONCE):
        """Ask for the password; tell whether the answer is right."""
        self.say(f"AUTH {nonce}")
        cnonce, response = self.response()
        secret = hashlib.md5(password.encode()).hexdigest()
        return response == hashlib.md5(f"{secret}:{nonce}:{cnonce}".encode()).hexdigest()

    def dial(self, source=None):
        """Connect to the host by TCP, from `source` or the board's own address."""
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.settimeout(_PATIENCE_S)
        tcp.bind((source or self.ip, 0))
        invitation = self.invitations[-1]
        tcp.connect((invitation.sender[0], invitation.port))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tcp

    def accept(self):
        """Answer OK to an invitation, and connect."""
        self.invited()
        self.say("OK")
        self.tcp = self.dial()

    def take(self, size):
        """Receive exactly `size` bytes without counting them."""
        wanted = len(self.image) + size
        while len(self.image) < wanted:
            data = self.tcp.recv(wanted - len(self.image))
            assert data, f"the host closed after {len(self.image)} bytes"
            self.image += data

    def take_all(self, result=b"OK"):
        """Receive the image, count it read by read as Arduino does, then say the result."""
        invitation = self.invitations[-1]
        while len(self.image) < invitation.size:
            data = self.tcp.recv(1460)
            assert data, f"the host closed after {len(self.image)} bytes"
            self.image += data
            self.tcp.sendall(b"%d" % len(data))
        assert hashlib.md5(self.image).hexdigest() == invitation.md5
        self.tcp.sendall(result)

    def closed(self):
        """Wait until the host has closed the connection."""
        try:
            while self.tcp.recv(1460):
                pass
        except ConnectionResetError:
            pass

    def reset(self):
        """End the connection with an RST."""
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.close()


def well_behaved(board):
    """Take an update as a board without a password does."""
    board.accept()
    board.take_all()
    board.closed()


def guarded(password):
    """Make the script of a board with a password."""

    def script(board):
        board.invited()
        if board.authenticated(password):
            board.say("OK")
            board.tcp = board.dial()
            board.take_all()
            board.closed()
        else:
            board.say("Authentication Failed")

    return script


def send(board, data=IMAGE, **options):
    """Upload to a board."""
    options = {"board_ip": board.ip, "board_port": board.port} | options
    espota.upload(data, **options)


def failure(script, kind, data=IMAGE, **options):
    """Upload to a board that fails, and give the error's one line."""
    with ScriptedBoard(script) as board, pytest.raises(kind) as caught:
        send(board, data, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line
