"""A host that does ArduinoOTA's protocol step by step, correctly or not, as a test wants it."""

import hashlib
import hmac
import select
import socket
import struct

from mpota.arduino.transfer import CHUNK

BOARD_PORT = 8266
PASSWORD = "geheim"  # the hosts' password, if no other is given
CNONCE = "c" * 64
_PATIENCE_S = 20


class RawHost:
    """One host with its own UDP socket and TCP listener, for the board at `board_ip`.

    Use it as a context manager: at the end everything is closed, with FIN.
    """

    def __init__(self, board_ip: str, ip: str = "127.0.0.1") -> None:
        self.board = (board_ip, BOARD_PORT)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((ip, 0))
        self.udp.settimeout(_PATIENCE_S)
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind((ip, 0))
        self.listener.settimeout(_PATIENCE_S)
        self.port = self.listener.getsockname()[1]
        self.tcp: socket.socket | None = None

    def __enter__(self) -> "RawHost":
        return self

    def __exit__(self, *_: object) -> None:
        for open_socket in (self.tcp, self.listener, self.udp):
            if open_socket:
                open_socket.close()

    def say(self, datagram: bytes) -> None:
        """Send any datagram to the board."""
        self.udp.sendto(datagram, self.board)

    def invite(self, size: int, md5: str = "0" * 32, command: int = 0) -> None:
        """Announce `size` bytes; the board will find the port listening."""
        self.listener.listen()
        self.say(b"%d %d %d %s\n" % (command, self.port, size, md5.encode()))

    def answer(self) -> str:
        """Wait for the board's next datagram."""
        return self.udp.recv(512).decode()

    def answers_within(self, seconds: float, beginning: str = "") -> bool:
        """Tell whether a datagram comes in time, which begins with `beginning`."""
        self.udp.settimeout(seconds)
        try:
            return self.udp.recv(512).startswith(beginning.encode())
        except TimeoutError:
            return False
        finally:
            self.udp.settimeout(_PATIENCE_S)

    def authenticate(self, challenge: str, password: str = PASSWORD) -> str:
        """Answer the challenge `AUTH <nonce>`; return the board's verdict."""
        cnonce = CNONCE[:32]
        nonce = challenge.removeprefix("AUTH ")
        response = _md5_hex(f"{_md5_hex(password)}:{nonce}:{cnonce}")
        self.say(f"200 {cnonce} {response}\n".encode())
        return self.answer()

    def accept(self) -> None:
        """Wait for the board to connect."""
        self.tcp, _ = self.listener.accept()
        self.tcp.settimeout(_PATIENCE_S)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def was_dialled(self) -> bool:
        """Tell whether the board has connected."""
        return bool(select.select([self.listener], [], [], 0)[0])

    def begin(self, data: bytes, size: int | None = None) -> None:
        """Announce `data`, or `size` bytes of it, prove the password, and accept the connection."""
        self.invite(len(data) if size is None else size, hashlib.md5(data).hexdigest())
        said = self.answer()
        if said.startswith("AUTH "):
            said = self.authenticate(said)
        assert said == "OK"
        self.accept()

    def send(self, data: bytes) -> None:
        """Send `data` in chunks, and wait until the board has counted all of it."""
        for start in range(0, len(data), CHUNK):
            chunk = data[start : start + CHUNK]
            self.tcp.sendall(chunk)
            # The board counts a chunk in one piece, unless the chunk is larger than what the board
            # still expects.
            assert self.tcp.recv(16) == b"%d" % len(chunk)

    def result(self) -> str:
        """Return everything that the board still sends until it closes."""
        said = b""
        while b"\n" not in said and not said.endswith(b"OK") and (data := self.tcp.recv(256)):
            said += data
        return said.decode().strip()

    def finish(self) -> None:
        """Close the connection normally."""
        self.tcp.close()

    def reset(self) -> None:
        """End the connection with an RST."""
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.close()


class StrongHost(RawHost):
    """A host that knows the stronger handshake."""

    def invite_for(self, data: bytes, *, port: int | None = None, command: int = 0) -> None:
        """Announce `data`, with its SHA-256."""
        self.listener.listen()
        self.announced = f"{command}:{len(data)}:{sha256_hex(data)}"
        md5 = hashlib.md5(data).hexdigest()
        port = self.port if port is None else port
        self.say(f"{command} {port} {len(data)} {md5} 2 {sha256_hex(data)}\n".encode())

    def challenge(self) -> str:
        """Wait for AUTH2; return its nonce."""
        word, nonce = self.answer().split()
        assert word == "AUTH2" and len(nonce) == 64 and int(nonce, 16)
        return nonce

    def response(self, nonce: str, password: str = PASSWORD, announced: str | None = None) -> bytes:
        """Return the datagram that answers a nonce."""
        key = hashlib.sha256(password.encode()).digest()
        message = f"{nonce}:{CNONCE}:{announced or self.announced}".encode()
        return f"200 {CNONCE} {hmac.new(key, message, 'sha256').hexdigest()}\n".encode()

    def verdict(self, datagram: bytes) -> str:
        """Send a datagram as a response, and return the board's answer."""
        self.say(datagram)
        return self.answer()

    def send_all(self, data: bytes) -> str:
        """Accept the connection, send `data`, and return the result."""
        self.accept()
        self.send(data)
        return self.result()


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _md5_hex(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
