"""Names of servers: looked up once, with lwIP's patience, and again when they may have moved."""

import socket
import threading

import pytest
from pulling import NO_UPDATES, PullingDevice
from web_site import WebSite, status

# lwIP asks a silent name server four times, and gives up after 1 + 1 + 2 + 3 s.
STALL_MS = 7000


class NameServer:
    """Answers at `address` with `ip`, if it has one; `asked` are the names."""

    def __init__(self, ip: str | None) -> None:
        self.ip = ip
        self.asked: list[str] = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._udp.settimeout(0.1)
        self.address = self._udp.getsockname()
        self._is_over = False
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "NameServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        self._udp.close()

    def _serve(self) -> None:
        while not self._is_over:
            try:
                question, host = self._udp.recvfrom(512)
            except TimeoutError:
                continue
            labels, at = [], 12
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode())
                at += 1 + question[at]
            self.asked.append(".".join(labels))
            if self.ip:
                answer = question[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question[12:]
                answer += b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04"
                self._udp.sendto(answer + socket.inet_aton(self.ip), host)


@pytest.fixture
def device(tmp_path):
    with PullingDevice(tmp_path) as device:
        yield device


def test_a_name_is_looked_up_once_until_its_server_cannot_be_reached(device):
    with WebSite("127.0.0.6") as site, NameServer("127.0.0.6") as names:
        device.board.use_name_server(*names.address)
        site.add("/", status("304 Not Modified"))
        url = f"http://updates.example.org:{site.address[1]}/"
        for _ in range(3):
            assert device.update(url).result == str(NO_UPDATES)
        assert names.asked == ["updates.example.org"]
        assert site.requests[-1].headers["host"] == f"updates.example.org:{site.address[1]}"
        # The server gets another address. The board's next question fails, and the question after
        # that reaches the server.
        names.ip = "127.0.0.7"
    with WebSite("127.0.0.7", site.address[1]) as moved, NameServer("127.0.0.7") as names:
        device.board.use_name_server(*names.address)
        moved.add("/", status("304 Not Modified"))
        device.fails(url, -1)
        assert device.update(url).result == str(NO_UPDATES)
        assert len(names.asked) == 1


def test_after_a_failure_the_name_is_looked_up_again(device):
    # The server may have moved, and another server may answer at its old address.
    with WebSite("127.0.0.6") as site, NameServer("127.0.0.6") as names:
        device.board.use_name_server(*names.address)
        site.add("/", status("404 Not Found"))
        url = f"http://updates.example.org:{site.address[1]}/"
        device.fails(url, -102)
        device.fails(url, -102)
        assert len(names.asked) == 2


def test_a_silent_name_server_does_not_end_a_trial(tmp_path):
    with NameServer(None) as names, PullingDevice(
        tmp_path, confirm_s=3600, reboot_on_success=True
    ) as device:  # fmt: skip
        start = device.said
        device.upload(device.next_image())
        device.board.wait_for("takes commands", start=device.line("app 2 runs", start))
        boots = device.board.boots
        device.board.use_name_server(*names.address)
        outcome = device.ask("available_version", "http://a.example.org/")
        assert outcome.error == -1 and len(names.asked) == 4
        assert device.board.boots == boots and device.record.trial != "-"


def test_a_silent_name_server_stalls_the_board_for_7_s_and_no_longer(device, record_property):
    with NameServer(None) as names:
        device.board.use_name_server(*names.address)
        device.command("exec('import time', globals())")
        asking = "(time.ticks_ms(), ask(ota, 'update', 'http://a.example.org/'), time.ticks_ms())"
        start = device.command(asking)
        match = device.board.wait_for(r"gives \((\d+), None, (\d+)\)", start=start)
        stall_ms = int(match[2]) - int(match[1])
        device.board.wait_for("result 0 -1 .*no address", start=start)
        assert names.asked == ["a.example.org"] * 4
    record_property("stall by a silent name server", f"{stall_ms / 1000:.1f} s")
    assert STALL_MS - 100 <= stall_ms <= STALL_MS + 3000


def test_an_address_in_numbers_asks_no_name_server(device):
    with WebSite() as site, NameServer(None) as names:
        device.board.use_name_server(*names.address)
        url = site.add("/", status("304 Not Modified"))
        assert device.update(url).result == str(NO_UPDATES)
        assert names.asked == []
