"""A board for tests: it speaks ArduinoOTA on 127.0.0.2 over real sockets, as a script tells it.

The script runs in a thread of its own; every wait of it is bounded.
"""

import hashlib
import hmac
import random
import re
import socket
import struct
import threading
from dataclasses import dataclass

import pytest
from mpota import arduino
from mpota.arduino.handshake import classic_response
from mpota.arduino.transfer import CHUNK

BOARD_IP, STRANGER_IP = "127.0.0.2", "127.0.0.9"
NONCE = "0123456789abcdef0123456789abcdef"
STRONG_NONCE = NONCE[::-1] + NONCE
OTHER_NONCE = STRONG_NONCE[::-1]
DENIED = "ERR: SHA-256 authentication required"
IMAGE = random.Random(1).randbytes(3 * CHUNK + 100)
_PATIENCE_S = 20


@dataclass
class Invited:
    """An invitation as it arrived."""

    command: int
    port: int
    size: int
    md5: str
    sha256: str | None  # None in a classic one
    sender: tuple[str, int]


class ScriptedBoard:
    """Run `script(board)` while the context is open; its exception comes out at the end."""

    def __init__(self, script, ip=BOARD_IP, port=0):
        self.ip = ip
        self.image = b""
        self.invitations = []
        self._script = script
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((ip, port))
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

    def invited(self, within_s=None):
        """Wait for an invitation, of either handshake; return None if none comes *within_s*."""
        self._udp.settimeout(within_s or _PATIENCE_S)
        try:
            text, sender = self._udp.recvfrom(512)
        except TimeoutError:
            if within_s:
                return None
            raise
        finally:
            self._udp.settimeout(_PATIENCE_S)
        fields = re.fullmatch(
            r"(0|100) (\d+) (\d+) ([0-9a-f]{32})(?: 2 ([0-9a-f]{64}))?\n", text.decode()
        )
        assert fields, text
        command, port, size = (int(field) for field in fields.groups()[:3])
        self.invitations.append(Invited(command, port, size, fields[4], fields[5], sender))
        return self.invitations[-1]

    def invited_classically(self):
        """Wait for a classic invitation; others get no answer, as from Arduino's library."""
        while self.invited().sha256:
            pass
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
        """Wait for the answer to a nonce; return cnonce and response."""
        while not (text := self._udp.recv(512)).startswith(b"200 "):
            assert text.startswith(b"0 "), text  # an invitation sent before the nonce arrived
        digits = 64 if self.invitations[-1].sha256 else 32
        fields = re.fullmatch(
            rf"200 ([0-9a-f]{{{digits}}}) ([0-9a-f]{{{digits}}})\n", text.decode()
        )
        assert fields, text
        return fields[1], fields[2]

    def hears_an_invitation(self, within_s):
        """Tell whether one comes in time, and nothing else."""
        self._udp.settimeout(within_s)
        try:
            return self.response_or_invitation() is None
        except TimeoutError:
            return False

    def response_or_invitation(self):
        """Wait for a datagram; return cnonce and response, or None if it is an invitation."""
        text = self._udp.recv(512)
        if text.startswith(b"0 "):
            return None
        fields = re.fullmatch(r"200 ([0-9a-f]{32}) ([0-9a-f]{32})\n", text.decode())
        assert fields, text
        return fields.groups()

    def authenticated(self, password, nonce=None):
        """Ask for the password in the invitation's handshake; tell whether the answer is right."""
        if self.invitations[-1].sha256:
            return self._authenticated_strongly(password, nonce or STRONG_NONCE)
        nonce = nonce or NONCE
        self.say(f"AUTH {nonce}")
        cnonce, response = self.response()
        secret = hashlib.md5(password.encode()).hexdigest()
        return response == hashlib.md5(f"{secret}:{nonce}:{cnonce}".encode()).hexdigest()

    def _authenticated_strongly(self, password, nonce):
        self.say(f"AUTH2 {nonce}")
        cnonce, response = self.response()
        invited = self.invitations[-1]
        signed = f"{nonce}:{cnonce}:{invited.command}:{invited.size}:{invited.sha256}"
        key = hashlib.sha256(password.encode()).digest()
        return response == hmac.digest(key, signed.encode(), "sha256").hex()

    def asked(self, within_s=None):
        """Wait for a request; return its words, or None if none comes *within_s*."""
        self._udp.settimeout(within_s or _PATIENCE_S)
        try:
            data, self._asker = self._udp.recvfrom(512)
        except TimeoutError:
            if within_s:
                return None
            raise
        finally:
            self._udp.settimeout(_PATIENCE_S)
        words = data.decode().split()
        assert (len(data), data[-1:], words[0]) == (256, b"\n", "MPOTA"), data
        return words[1:]

    def reply(self, text):
        """Answer the last request."""
        self._udp.sendto(text.encode(), self._asker)

    def proven(self, password, nonce=STRONG_NONCE):
        """Ask for the password in answer to a request; tell whether the proof is right.

        Requests that were sent before the nonce arrived are ignored.
        """
        self.reply(f"AUTH2 {nonce}")
        while len(words := self.asked()) != 3:
            pass
        command, cnonce, response = words
        key = hashlib.sha256(password.encode()).digest()
        message = f"{nonce}:{cnonce}:{command}"
        return response == hmac.digest(key, message.encode(), "sha256").hex()

    def tell(self, **values):
        """Answer a request for the status."""
        assert self.asked() == ["status"]
        self.reply(status(**values))

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
        assert invitation.sha256 in (None, hashlib.sha256(self.image).hexdigest())
        self.tcp.sendall(result)

    def finish(self):
        """Answer OK, connect, take the image, and wait for the end."""
        self.say("OK")
        self.tcp = self.dial()
        self.take_all()
        self.closed()

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


def status(**values):
    """Return the answer of a board to a request for its status; `values` replace those of a sample.

    One that is None is left out.
    """
    sample = {
        "name": "garden",
        "version": "1.4.0",
        "sequence": 17,
        "slot": "b",
        "state": "healthy",
        "heap": 12345,
        "firmware": "1.28.0",
        "uptime": 0,
        "address": BOARD_IP,
        "outcome": "confirmed: 17",
    }
    lines = (sample | values).items()
    return "\n".join(f"{key} {value}" for key, value in lines if value is not None)


def well_behaved(board):
    """Take an update as a board without a password does."""
    board.invited()
    board.finish()


def tried(*told):
    """Make the script of a board that takes an update, and then tells these statuses one by one.

    Without any, the board has confirmed the update when it is asked.
    """

    def script(board):
        well_behaved(board)
        for values in told or [{}]:
            board.tell(**values)

    return script


def classic(board):
    """Take an update as Arduino's library without a password does."""
    board.invited_classically()
    board.finish()


def sketch(password):
    """Make the script of Arduino's library with a password.

    Any datagram that is not an answer to its nonce makes it forget the nonce.
    """

    def script(board):
        answer = None
        while answer is None:
            board.invited_classically()
            board.say(f"AUTH {NONCE}")
            answer = board.response_or_invitation()
        cnonce, response = answer
        assert response == classic_response(password, NONCE, cnonce)
        board.finish()

    return script


def guarded(password):
    """Make the script of a board with a password."""

    def script(board):
        board.invited()
        if board.authenticated(password):
            board.finish()
        else:
            board.say("Authentication Failed")

    return script


def send(board, data=IMAGE, **options):
    """Upload to a board."""
    options = {"board_ip": board.ip, "board_port": board.port} | options
    arduino.upload(data, **options)


def transferred(script, **options):
    """Upload to a board; return the board, the handshakes agreed on, and the steps."""
    agreed, steps = [], []
    with ScriptedBoard(script) as board:
        send(board, agreed=agreed.append, state=steps.append, **options)
    assert board.image == IMAGE
    return board, agreed, steps


def failure(script, kind, data=IMAGE, **options):
    """Upload to a board that fails; return the error's line."""
    with ScriptedBoard(script) as board, pytest.raises(kind) as caught:
        send(board, data, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line
