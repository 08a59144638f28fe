"""Hosts that go away in the middle of an update: by FIN, by RST, and by silence."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from device import Device
from raw_host import PASSWORD, RawHost

pytestmark = pytest.mark.parallel

SIZE_BYTES = 16_384  # of the image in these tests
ENDS = {"FIN": RawHost.finish, "RST": RawHost.reset}

# The hosts go away after these numbers of bytes. The 212 numbers lie at borders of chunks and
# blocks, and all over the image.
BORDERS = [0, 1, 2, 511, 512, 513, 1024, 1459, 1460, 1461, 2920, 4096, 8192, 10_220, 16_383]
OFFSETS = sorted({*BORDERS, *range(40, SIZE_BYTES, 83)})
# After the hosts of each group, the board has to take an update.
GROUPS = [OFFSETS[first::4] for first in range(4)]


def image_of(device):
    """Return an image of exactly SIZE_BYTES, of the release that runs."""
    excess = len(device.image(files={"data.bin": bytes(SIZE_BYTES)})) - SIZE_BYTES
    return device.image(files={"data.bin": bytes(SIZE_BYTES - excess)})


def ends_badly(device, said):
    device.board.wait_for("update failed", start=said)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("offsets", GROUPS, ids=lambda offsets: f"{offsets[0]},{offsets[1]},...")
def test_hosts_that_go_away_one_after_the_other(tmp_path, offsets, end):
    # The board has a password: without one, it would make a pause after a few failures.
    with Device(tmp_path, password=PASSWORD) as device, device.unharmed():
        data = image_of(device)
        assert len(data) == SIZE_BYTES
        for offset in offsets:
            said = device.said
            with RawHost(device.board.ip) as host:
                host.begin(data)
                host.send(data[:offset])
                ENDS[end](host)
                ends_badly(device, said)


@pytest.mark.parametrize("end", ENDS)
def test_a_host_that_goes_away_without_reading_a_count(device, end):
    with device.unharmed():
        said = device.said
        data = image_of(device)
        with RawHost(device.board.ip) as host:
            host.begin(data)
            host.tcp.sendall(data[:9000])
            ENDS[end](host)
            ends_badly(device, said)


def test_a_host_whose_port_is_closed(device):
    with device.unharmed(), RawHost(device.board.ip) as host:
        said = device.said
        host.say(b"0 %d 1000 %s\n" % (host.port, b"0" * 32))  # but nobody listens at this port
        assert host.answer() == "OK"
        device.board.wait_for("update failed, code 2", start=said)


@pytest.mark.parametrize("end", ENDS)
def test_an_update_that_has_all_arrived_is_installed_though_the_host_goes_away(device, end):
    data = device.next_image()
    said = device.said
    with RawHost(device.board.ip) as host:
        host.begin(data)
        host.send(data)
        ENDS[end](host)
        device.confirmed(said)
    device.takes_an_update()


@pytest.mark.parametrize("end", ENDS)
def test_an_update_is_installed_though_the_host_goes_away_with_the_result(device, end):
    data = device.next_image()
    said = device.said
    with RawHost(device.board.ip) as host:
        host.begin(data)
        host.send(data)
        assert host.result() == "OK"
        ENDS[end](host)
        device.confirmed(said)
    device.takes_an_update()


def silent_after_the_challenge(host, data):
    host.invite(len(data))
    assert host.answer().startswith("AUTH ")


def never_connected(host, data):
    # The queue of the host's listening socket is full, so the board's SYN gets no answer at all.
    host.listener.listen(0)
    full = [socket.socket() for _ in range(2)]
    for client in full:
        client.setblocking(False)
        client.connect_ex(host.listener.getsockname())
    host.full = full
    host.say(b"0 %d %d %s\n" % (host.port, len(data), b"0" * 32))
    assert host.answer() == "OK"


def never_accepted(host, data):
    host.invite(len(data))
    assert host.answer() == "OK"


def silent_after(offset):
    def silent(host, data):
        host.begin(data)
        host.send(data[:offset])

    silent.__name__ = f"silent_after_{offset}"
    return silent


def silent_and_no_network(host, data):
    silent_after(1460)(host, data)


SILENCES = [silent_after_the_challenge, never_connected, never_accepted, silent_and_no_network] + [
    silent_after(offset) for offset in (0, 1, 512, 1459, 1460, 1461, 4096, 8000, SIZE_BYTES - 1)
]


def test_a_host_that_falls_silent_is_given_up(tmp_path):
    # The board gives each silent host up after 10 s. So all of them run at once, each on a board of
    # its own.
    def run(silence):
        folder = tmp_path / silence.__name__
        folder.mkdir()
        password = {"password": "x"} if silence is silent_after_the_challenge else {}
        with Device(folder, **password) as device, RawHost(device.board.ip) as host:
            said = device.said
            with device.unharmed():
                silence(host, image_of(device))
                device.board.network = silence is not silent_and_no_network
                device.board.wait_for("update failed|no answer to AUTH", start=said)
                device.board.network = True

    with ThreadPoolExecutor(len(SILENCES)) as pool:
        outcomes = {silence.__name__: pool.submit(run, silence) for silence in SILENCES}
    failures = {name: repr(o.exception()) for name, o in outcomes.items() if o.exception()}
    assert not failures
