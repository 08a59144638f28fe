"""mDNS between simulated boards and python-zeroconf: boards come, are found, change, and go."""

import os
import queue
import socket
import time
from collections.abc import Callable
from contextlib import closing

import boards
import pytest
from device import Device
from mpota.sim import Board
from mpota.sim.rom_modules import control
from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

ARDUINO, HTTP = "_arduino._tcp.local.", "_http._tcp.local."
PATIENCE_S = 30


def name_of(what: str) -> str:
    """Return a host name that no other test uses at the same time."""
    return f"t{os.getpid()}-{what}"


def until(is_so: Callable[[], bool]) -> None:
    """Wait until *is_so()*, which waits for a moment itself or is quick."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Listener(ServiceListener):
    """What a ServiceBrowser tells, as (event, instance) in `events`, of the boards of this process.

    Other processes test at the same time, and all of them hear each other.
    """

    def __init__(self):
        self.events = queue.Queue()

    def _tell(self, event, service, instance):
        if instance.startswith(f"t{os.getpid()}-"):
            self.events.put((event, instance.removesuffix(f".{service}")))

    def add_service(self, _, service, instance):
        self._tell("added", service, instance)

    def update_service(self, _, service, instance):
        self._tell("changed", service, instance)

    def remove_service(self, _, service, instance):
        self._tell("removed", service, instance)

    def wait_for(self, *wanted):
        """Wait until each of the events has come, in any order; return all that came, in theirs."""
        came = []
        missing = set(wanted)
        deadline = time.monotonic() + PATIENCE_S
        while missing:
            try:
                event = self.events.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{missing} did not come, but {came}") from None
            came.append(event)
            missing.discard(event)
        return came


class Host:
    """A host that looks for boards with python-zeroconf."""

    def __init__(self):
        self.zeroconf = Zeroconf(interfaces=["127.0.0.1"])
        self.listener = Listener()

    def browse(self, service=ARDUINO):
        ServiceBrowser(self.zeroconf, service, self.listener)
        return self.listener

    def resolve(self, instance, service=ARDUINO):
        """Return what is known of a board's service, asking for it if need be."""
        info = self.zeroconf.get_service_info(service, f"{instance}.{service}", PATIENCE_S * 1000)
        assert info is not None, instance
        return info

    def texts(self, instance):
        found = self.resolve(instance).properties
        return {key.decode(): value.decode() for key, value in found.items()}


@pytest.fixture
def host():
    host = Host()
    with closing(host.zeroconf):
        yield host


@pytest.fixture
def device(tmp_path):
    with Device(tmp_path, mdns=True, hostname=name_of("board"), confirm_s=0) as device:
        yield device


def test_a_board_and_its_services_are_found_and_resolved(tmp_path, host):
    settings = {"hostname": name_of("board"), "web": True, "web_port": 8080, "port": 8267}
    with Device(tmp_path, mdns=True, password="geheim", confirm_s=0, **settings) as device:
        listener = host.browse([ARDUINO, HTTP])
        name = name_of("board")
        listener.wait_for(("added", name), ("added", name))
        found = host.resolve(name)
        assert found.parsed_addresses() == [device.board.ip]
        assert (found.server, found.port) == (f"{name}.local.", 8267)
        page = host.resolve(name, HTTP)
        assert (page.parsed_addresses(), page.port) == ([device.board.ip], 8080)
        assert page.properties == {b"path": b"/update"}
        texts = host.texts(name)
        assert texts.pop("state") in ("idle", "healthy")
        assert texts == {
            "tcp_check": "no",
            "ssh_upload": "no",
            "board": "ESP8266_GENERIC",
            "auth_upload": "yes",
            "app": "small",
            "version": "1",
        }


def test_the_host_s_own_resolver_finds_a_board_by_its_name(device):
    # A resolver without mDNS asks like this: from a port of its own, at the board's address.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(1)
        label = name_of("board").encode()
        question = bytes([len(label)]) + label + b"\x05local\0\0\1\0\1"
        query = b"\x12\x34\0\0\0\1\0\0\0\0\0\0" + question
        deadline = time.monotonic() + PATIENCE_S
        answer = b""
        while not answer:
            assert time.monotonic() < deadline
            udp.sendto(query, (device.board.ip, 5353))
            try:
                answer = udp.recv(2000)
            except TimeoutError:
                continue
    assert answer.startswith(b"\x12\x34\x84\0\0\1\0\1\0\0\0\0" + question)
    assert answer.endswith(b"\0\4" + socket.inet_aton(device.board.ip))


def test_a_board_that_restarts_for_an_update_says_goodbye_and_comes_back_changed(device, host):
    name = name_of("board")
    listener = host.browse()
    listener.wait_for(("added", name))
    device.update()
    came = listener.wait_for(("removed", name), ("added", name))
    assert came.index(("removed", name)) < came.index(("added", name))
    until(lambda: host.texts(name)["state"] == "healthy")
    assert host.texts(name)["version"] == "2"


def test_two_boards_with_the_same_name_are_both_found(tmp_path, host):
    name = name_of("twin")
    listener = host.browse()
    folders = [tmp_path / letter for letter in "ab"]
    for folder in folders:
        folder.mkdir()
    twins = [Device(folder, mdns=True, hostname=name) for folder in folders]
    with twins[0], twins[1]:
        listener.wait_for(("added", name), ("added", f"{name}-2"))
        found = [host.resolve(instance) for instance in (name, f"{name}-2")]
        addresses = {address for info in found for address in info.parsed_addresses()}
        assert addresses == {twin.board.ip for twin in twins}
        said = [line for twin in twins for line in twin.board.lines if "mdns: " in line]
        assert sum(f"another host is {name}.local" in line for line in said) == 1, said


def test_a_board_that_comes_later_leaves_the_name_to_the_first(tmp_path):
    # On a busy machine the first board may answer too late, so that both have the name for a
    # moment. Then the one with the higher address keeps it: here the one that was made last.
    name = name_of("board")
    folders = [tmp_path / "later", tmp_path / "first"]
    for folder in folders:
        folder.mkdir()
    later, first = [Device(folder, mdns=True, hostname=name, confirm_s=0) for folder in folders]
    with first:
        first.board.wait_for(f"this board is {name}.local")
        with later:
            later.board.wait_for(f"this board is {name}-2.local")
            host = Host()
            with closing(host.zeroconf):
                assert host.resolve(name).parsed_addresses() == [first.board.ip]
                assert host.resolve(f"{name}-2").parsed_addresses() == [later.board.ip]
            assert not [line for line in first.board.lines if "another host" in line]


def test_a_board_that_leaves_without_a_word_comes_back_with_another_address(device, host):
    name = name_of("board")
    listener = host.browse()
    listener.wait_for(("added", name))
    device.board.power_off()
    other = boards.own_ip()
    with Board(device.board.flash, ip=other) as board:
        board.wait_for(f"this board is {name}.local")
        until(lambda: host.resolve(name).parsed_addresses() == [other])


def test_it_answers_again_after_each_reconnect(device, host):
    name = name_of("board")
    board = device.board
    board.wait_for("this board is")
    for _ in range(3):
        start = device.said
        board.network = False
        board.wait_for("the network is lost", start=start)
        ip = boards.own_ip()
        board.control.set_text(control.IP, ip, 16)
        board.network = True
        board.wait_for(f"this board is {name}.local", start=start)
        fresh = Host()
        with closing(fresh.zeroconf):
            assert fresh.resolve(name).parsed_addresses() == [ip]


def test_every_query_is_answered_to_all(device):
    # mdns-discovery, a tool of the Arduino IDE, asks every 45 s or so. It forgets a board of which
    # it has not heard for 60 s.
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind(("224.0.0.251", 5353))
        group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        udp.settimeout(PATIENCE_S)
        device.board.wait_for("this board is")
        query = b"\0" * 5 + b"\1" + b"\0" * 6 + b"\x08_arduino\x04_tcp\x05local\0\0\x0c\0\1"
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
            asking.bind(("127.0.0.1", 0))
            for _ in range(5):
                asking.sendto(query, ("224.0.0.251", 5353))
                asked_at = time.monotonic()
                is_answer = False
                while not is_answer:
                    assert time.monotonic() < asked_at + PATIENCE_S
                    data, address = udp.recvfrom(2000)
                    is_answer = address == (device.board.ip, 5353) and data[2:4] == b"\x84\0"
