"""Hundreds of hostile requests: the page, the heap and the running version are not harmed.

They come from many addresses, as strangers do, to a board with a password.
"""

import contextlib
import random
import socket
import struct
import time

import pytest
from device import COMMANDED_APP
from raw_host import PASSWORD
from test_web_upload import is_installed, saved
from web_client import WebDevice, basic, digest, form, request

REQUESTS, CONNECTIONS = 500, 300
# After this many requests, the board has filled its memory of strangers, and has loaded every part
# once. (With four seeds, the heap in use grew for 80 to 280 requests and then no more.)
FIRST = 300
# The heap in use varies by this much, since the table of names and the free list vary. A connection
# that is never released would take 1,200 bytes.
TOLERANCE_BYTES = 768

NONCE = {"algorithm": "SHA-256", "realm": "mpota", "nonce": "00000001" + "0" * 24}


class Stranger:
    """One of many: says *data* from an address of its own, and leaves as *how* says."""

    def __init__(self, ip, number):
        self._ip = ip
        self._from = f"127.10.{number // 250}.{number % 250 + 1}"

    def connect(self):
        connection = socket.socket()
        connection.settimeout(20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.bind((self._from, 0))
        connection.connect((self._ip, 80))
        return connection

    def say(self, *pieces, how="wait"):
        """Say *pieces*, each in a packet of its own; return the answer, if it is waited for."""
        with self.connect() as connection, contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
            if how == "reset":
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if how != "wait":
                return b""
            connection.shutdown(socket.SHUT_WR)
            said = b""
            while data := connection.recv(65536):
                said += data
            return said
        return b""


def hostile(ip, numbers):
    """Return the pieces of one hostile request, and how its client leaves."""
    good = basic("mpota", PASSWORD)
    wrong = numbers.choice([
        basic("mpota", "guess"), basic("mpota", ""), "Basic !", "Digest ",
        digest(NONCE, uri="/update", password=numbers.choice(["geheim", "x"])),
        "Digest " + 'a="' * 100, "Bearer x",
    ])  # fmt: skip
    path = numbers.choice(["/update", "/update/status", "/update/restart", "/", "/x"])
    garbage = numbers.randbytes(numbers.choice([1, 40, 600, 3000]))
    part = form(("image", "a.bin", garbage))
    kind = "multipart/form-data; boundary=xyz"
    size = str(numbers.choice([0, 1, 5, 2**20, 10**8]))
    # /update/restart is left out, since a mutation may well turn out to be a good request.
    own = numbers.choice(["/update", "/update/status", "/update/confirm", "/update/revert"])
    whole = request(ip, b"x" * 300, path=own, Authorization=numbers.choice([good, wrong]))
    mutated = bytearray(whole)
    for _ in range(numbers.randrange(1, 8)):
        mutated[numbers.randrange(len(mutated))] = numbers.randrange(256)
    cut = numbers.randrange(len(whole))
    pieces = numbers.choice([
        [garbage],
        [b"GET /" + b"x" * numbers.choice([300, 600, 9000]) + b" HTTP/1.1\r\n\r\n"],
        [b"GET /update HTTP/1.1\r\n" + b"X-Y: z\r\n" * numbers.choice([100, 2000]) + b"\r\n"],
        [b"GET /update HTTP/1.1\r\nHost: " + garbage + b"\r\n\r\n"],
        [request(ip, method=numbers.choice(["OPTIONS", "TRACE", "CONNECT", "G\0T"]), path=path)],
        [request(ip, path=path, Content_Length="", Transfer_Encoding="chunked"),
         b"5\r\nhello\r\n0\r\n\r\n"],
        [request(ip, garbage, path=path, Content_Length=size, Authorization=wrong)],
        [request(ip, part, Content_Type=kind, Content_Length=size, Authorization=good)],
        [request(ip, part, Content_Type=kind + numbers.choice(["z", '"', ""]), Authorization=good)],
        [request(ip, garbage, Authorization=good, Content_Length=size)],
        [request(ip, path=path, Authorization=wrong)],
        [request(ip, path=path, Host="evil.example"), request(ip, path=path, Origin="null")],
        [request(ip, method="GET", path="/update/status", Authorization=good) * 30],
        [bytes(mutated)],
        [whole[:cut]],
        [whole[:cut], whole[cut:]],
        [],
    ])  # fmt: skip
    # A client that does not end its request does not wait for the answer, which may take 10 s.
    return pieces, numbers.choice(["wait", "reset", "close"])


def in_use(device):
    """Return how much of the heap is in use when all connections are closed."""
    deadline = time.monotonic() + 60
    while True:
        start = device.command("len(ota.web.session)")
        if device.board.wait_for(r"gives (\d+)", start=start)[1] == "0":
            break
        assert time.monotonic() < deadline, "connections stay open"
    # The garbage collector takes values on the C stack for pointers, and so sometimes keeps an
    # object that is no longer needed. The least of several figures is what is in use.
    figures = []
    for _ in range(5):
        start = device.command("[ota.unload(), __import__('gc').mem_alloc()]")
        said = device.board.wait_for(r"gives \[None, (\d+)\]", start=start)
        figures.append(int(said[1]))
    return min(figures)


@pytest.mark.long
@pytest.mark.campaign
def test_hostile_requests_leave_page_heap_and_version_as_they_were(
    tmp_path, campaign, record_property
):
    (seed,) = campaign.sample("hostile requests", range(10**6), 1)[:1]
    numbers = random.Random(seed)
    with WebDevice(tmp_path, COMMANDED_APP, password=PASSWORD, web_password=PASSWORD) as device:
        ip, answered = device.board.ip, 0
        with device.unharmed():
            for n in range(FIRST + REQUESTS):
                if n == FIRST:
                    before = in_use(device)
                pieces, how = hostile(ip, numbers)
                said = Stranger(ip, n).say(*pieces, how=how)
                assert b"HTTP/1.1 200" not in said or b"status" in pieces[0], (seed, pieces, said)
                answered += said.startswith(b"HTTP/1.1 ")
            with contextlib.ExitStack() as stack:
                for n in range(CONNECTIONS):
                    connection = socket.socket()
                    stack.callback(connection.close)
                    connection.setblocking(False)
                    connection.connect_ex((ip, 80))
                    with contextlib.suppress(OSError):
                        connection.send(b"GET /update HTTP/1.1\r\n"[: n % 22])
            after = in_use(device)
            record_property(
                f"hostile requests to the page, seed {seed}",
                f"{REQUESTS} and {CONNECTIONS} connections, {answered} answered, "
                f"{after - before} bytes of heap kept",
            )
            assert after - before <= TOLERANCE_BYTES
        # The listener has just taken an update. The page takes one, too.
        start = device.said
        image = saved(tmp_path, device.next_image())
        log_in = ("--digest", "--user", f"mpota:{PASSWORD}")
        is_installed(device, start, device.curl(*log_in, "-F", f"image=@{image}"))
