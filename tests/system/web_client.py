"""Boards with the update page, and its clients: curl, and one that sends any bytes a test wants."""

import base64
import hashlib
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

from device import APP, Device

_PATIENCE_S = 20


class Answer(NamedTuple):
    """An HTTP answer; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> dict:
        return json.loads(self.body)


class WebDevice(Device):
    """A board whose page is on; other settings as with Device."""

    def __init__(self, folder: Path, app: str = APP, /, **settings: object) -> None:
        # An update by the page takes more heap for objects than an update by the listener. Objects
        # are twice as large here as on the chip: 38 KiB there have as many words as 76 KiB here.
        super().__init__(folder, app, **{"web": True, "heap": "64k"} | settings)
        self._web_password = str(settings.get("web_password", ""))

    def __enter__(self) -> "WebDevice":
        super().__enter__()
        self.board.wait_for("web: http")
        return self

    @property
    def url(self) -> str:
        return f"http://{self.board.ip}/update"

    def curl(self, *arguments: str | Path, path: str = "") -> Answer:
        """Let curl ask for /update + *path*; return the last answer."""
        return curl(*arguments, self.url + path)

    def post(self, data: bytes, path: str = "", **headers: str) -> Answer:
        """Post *data* as it is, with the password; a `_` in a header's name stands for `-`."""
        if self._web_password:
            headers = {"Authorization": basic("mpota", self._web_password)} | headers
        return post(self.board.ip, data, path, **headers)

    def status(self) -> dict:
        """Ask for the status."""
        return self.curl(path="/status").json


def curl(*arguments: str | Path) -> Answer:
    """Run Debian's curl and return the last answer; *arguments* end with the URL."""
    command = ["curl", "--silent", "--show-error", "--include", "--max-time", "60", *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return parse(done.stdout)


def parse(said: bytes) -> Answer:
    """Take the last answer of *said* apart, behind `100 Continue`, questions and refusals."""
    *_, start = [found.start() for found in re.finditer(rb"HTTP/1\.[01] [0-9]{3} ", said)]
    head, _, body = said[start:].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


def request(ip: str, data: bytes = b"", *, method: str = "POST", path: str = "/update",
            **headers: str) -> bytes:  # fmt: skip
    """Return the bytes of a request; a header that is "" is left out."""
    fields = {"Host": ip, "Content-Length": str(len(data)) if method == "POST" else ""}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items() if v != "")]
    return "\r\n".join([*lines, "", ""]).encode() + data


def post(ip: str, data: bytes, path: str = "", **headers: str) -> Answer:
    headers = {"Content_Type": "application/octet-stream"} | headers
    return say(ip, request(ip, data, path="/update" + path, **headers))


def say(ip: str, *pieces: bytes) -> Answer:
    """Say *pieces* on a new connection, each in a packet of its own; return the answer."""
    with connect(ip) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return hear(connection)


def connect(ip: str) -> socket.socket:
    """Open a connection to the page at *ip*."""
    connection = socket.create_connection((ip, 80), timeout=_PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def hear(connection: socket.socket) -> Answer:
    """Read an answer, until the board closes."""
    return parse(hear_bytes(connection))


def hear_bytes(connection: socket.socket) -> bytes:
    """Read all that the board says until it closes."""
    said = b""
    while data := connection.recv(4096):
        said += data
    return said


def form(*parts: tuple[str, str | None, bytes], boundary: str = "xyz", preamble: bytes = b"",
         epilogue: bytes = b"") -> bytes:  # fmt: skip
    """Return a form of (name, file name, content); a field without a file name is no file."""
    body = preamble
    for name, file, content in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        if file is not None:
            head += f'; filename="{file}"\r\nContent-Type: application/octet-stream'
        body += f"{head}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode() + epilogue


def challenges(answer: bytes) -> dict[str, dict[str, str]]:
    """Return the challenges of a 401: "MD5", "SHA-256" or "Basic" → its parameters."""
    found = {}
    lines = answer.decode().partition("\r\n\r\n")[0].split("\r\n")
    for line in lines:
        if line.startswith("WWW-Authenticate: "):
            scheme, _, rest = line.removeprefix("WWW-Authenticate: ").partition(" ")
            parameters = dict(re.findall(r'(\w+)="?([^",]*)"?', rest))
            found[parameters.get("algorithm", scheme)] = parameters
    return found


def basic(user: str, password: str) -> str:
    """Return the header Authorization that says *password*."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def digest(
    challenge: dict[str, str],
    *,
    user: str = "mpota",
    password: str = "geheim",
    method: str = "GET",
    uri: str = "/update",
    count: int = 1,
    **changes: str,
) -> str:
    """Return the header Authorization that proves *password*; *changes* replace its parameters."""
    name = challenge["algorithm"]

    def h(text: str) -> str:
        return hashlib.new(name.replace("-", ""), text.encode()).hexdigest()

    fields = {
        "username": user, "realm": challenge["realm"], "nonce": challenge["nonce"], "uri": uri,
        "algorithm": name, "qop": "auth", "nc": f"{count:08x}", "cnonce": "0a4f113b",
    } | {key: value for key, value in changes.items() if key != "response"}  # fmt: skip
    ha1 = h(f"{fields['username']}:{fields['realm']}:{password}")
    middle = ":".join(fields[key] for key in ("nonce", "nc", "cnonce", "qop"))
    fields["response"] = h(f"{ha1}:{middle}:{h(f'{method}:{uri}')}")
    fields |= changes
    return "Digest " + ", ".join(
        f"{key}={value}" if key in ("nc", "qop", "algorithm") else f'{key}="{value}"'
        for key, value in fields.items() if value != "-"
    )  # fmt: skip
