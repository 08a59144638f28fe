"""Uploads that break the protocol or the board's policy; sizes, digests, passwords, other hosts."""

import contextlib
import hashlib
import random
import socket
import threading
import time

import pytest
from device import FAILED, REFUSED, Device
from mpota.arduino.outcomes import PasswordNeededError, RefusedError, WrongPasswordError
from raw_host import RawHost

pytestmark = pytest.mark.parallel

BAD_SIZE, WRONG_MD5, RUNNING, UNKNOWN_COMMAND, NOT_NOW, DAMAGED = 5, 7, 15, 16, 33, 37
PASSWORD = {"password": "open sesame"}


def big_image(device, size=90_000):
    """Return the next release with a file that makes its transfer last."""
    return device.next_image(files={"data.bin": random.Random(1).randbytes(size)})


def ends_badly(device, said):
    """Wait until the update that was announced after line `said` has ended badly."""
    device.board.wait_for(f"{FAILED}|{REFUSED}", start=said)


@pytest.mark.parametrize("extra", [1, 100, 1460, 5000])
def test_more_bytes_than_announced_are_not_taken(device, extra):
    with device.unharmed():
        said = device.said
        data = device.image() + bytes(extra)
        with RawHost(device.board.ip) as host:
            host.begin(data, len(data) - extra)
            host.tcp.sendall(data)
            assert "ERROR[7]" in host.result()
        ends_badly(device, said)


def test_data_without_an_end_is_cut_off_where_it_was_announced_to_end(device):
    with device.unharmed():
        said = device.said
        data = device.image(files={"data.bin": bytes(20_000)})
        written = device.board.programmed_bytes
        with RawHost(device.board.ip) as host:
            host.begin(data)
            stream = threading.Thread(target=_send_for_ever, args=(host.tcp, data[:-100]))
            stream.start()
            # The test reads the board's console here. The host may never get the result, because
            # so much data follow the update.
            ends_badly(device, said)
            stream.join(20)
            assert not stream.is_alive()
        assert device.board.programmed_bytes - written < len(data) + 256


def _send_for_ever(tcp, beginning):
    with contextlib.suppress(OSError):
        tcp.sendall(beginning)
        while True:
            tcp.sendall(b"M" * 65_536)


@pytest.mark.parametrize("missing", [1, 100, 1460])
def test_fewer_bytes_than_announced_are_not_enough(device, missing):
    with device.unharmed():
        said = device.said
        data = device.image()
        with RawHost(device.board.ip) as host:
            host.begin(data, len(data) + missing)
            host.send(data)
            host.finish()
            ends_badly(device, said)


@pytest.mark.parametrize("md5", ["0" * 32, "F" * 32, "of the first byte"])
def test_a_wrong_md5_is_an_error(device, md5):
    with device.unharmed():
        said = device.said
        data = device.image()
        with RawHost(device.board.ip) as host:
            md5 = hashlib.md5(data[:1]).hexdigest() if " " in md5 else md5
            host.invite(len(data), md5)
            assert host.answer() == "OK"
            host.accept()
            host.send(data)
            result = host.result()
            assert result.startswith(f"ERROR[{WRONG_MD5}]: MD5 verification failed: expected: ")
            assert result.endswith(hashlib.md5(data).hexdigest())
        ends_badly(device, said)


def test_an_md5_in_capitals_is_the_same(device):
    data = device.next_image()
    said = device.said
    with RawHost(device.board.ip) as host:
        host.invite(len(data), hashlib.md5(data).hexdigest().upper())
        assert host.answer() == "OK"
        host.accept()
        host.send(data)
        assert host.result() == "OK"
    device.confirmed(said)


def test_an_image_of_no_bytes_is_refused_at_once(device):
    with device.unharmed(), RawHost(device.board.ip) as host:
        said = device.said
        host.invite(0)
        assert host.answer() == f"ERR: ERROR[{BAD_SIZE}]: Bad Size Given\n"
        ends_badly(device, said)


def test_no_port_is_dialled_that_no_host_would_listen_on(device):
    with device.unharmed(), RawHost(device.board.ip) as host:
        for port in (1, 79, 80, 1023, 65536, 10**9):
            host.say(b"0 %d 1000 %s\n" % (port, b"0" * 32))
            assert not host.answers_within(0.2), port


def test_what_cannot_be_an_md5_gets_no_answer(device):
    with device.unharmed(), RawHost(device.board.ip) as host:
        for md5 in (b"x" * 32, b"\xff" * 32, b"0" * 31, b"0" * 33):
            host.say(b"0 %d 1000 %s\n" % (host.port, md5))
            assert not host.answers_within(0.2), md5


def test_a_second_invitation_during_an_upload_is_refused_and_the_first_succeeds(device):
    data = big_image(device, 20_000)
    said = device.said
    with RawHost(device.board.ip) as host, RawHost(device.board.ip, "127.0.0.9") as second:
        host.begin(data)
        host.send(data[:10_000])
        second.invite(1000)
        assert second.answer() == f"ERR: ERROR[{RUNNING}]: Update already running\n"
        host.send(data[10_000:])
        second.invite(1000)
        assert f"ERROR[{RUNNING}]" in second.answer()
        assert host.result() == "OK"
    device.confirmed(said)
    device.takes_an_update()


def test_an_upload_succeeds_in_a_flood_of_datagrams(device):
    data = big_image(device)
    said = device.said
    stop = threading.Event()
    flood = threading.Thread(target=_flood, args=(device.board.ip, stop))
    flood.start()
    try:
        with RawHost(device.board.ip) as host:
            host.begin(data)
            host.send(data)
            assert host.result() == "OK"
    finally:
        stop.set()
        flood.join()
    device.confirmed(said)
    device.takes_an_update()


def _flood(board_ip, stop):
    numbers = random.Random(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.9", 0))
        while not stop.is_set():
            for _ in range(20):
                start = numbers.choice([b"", b"0 ", b"100 ", b"200 "])
                udp.sendto(start + numbers.randbytes(numbers.randrange(300)), (board_ip, 8266))
            stop.wait(0.001)


def test_after_failed_transfers_a_board_without_a_password_makes_a_growing_pause(device):
    # Without the pause, strangers could wear out the board's flash.
    device.spoiled = True
    damaged = device.image()[:-1] + b"x"
    for pause_s in (0, 0, 2, 4):
        assert once_the_pause_is_over(device, damaged).code == DAMAGED
        if pause_s:
            erases = device.board.erases
            refused = device.fails(damaged, RefusedError)
            assert refused.code == NOT_NOW
            assert f"failed transfers, try again in {pause_s} s" in str(refused)
            assert device.board.erases == erases
    start = device.said
    assert once_the_pause_is_over(device, device.next_image()) is None
    device.confirmed(start)
    device.takes_an_update()


def once_the_pause_is_over(device, data):
    """Upload *data* as soon as the board lets it begin; return the refusal, or None."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        start = device.said
        try:
            return device.upload(data)
        except RefusedError as refusal:
            if refusal.code != NOT_NOW:
                device.board.wait_for("update failed", start=start)
                return refusal
        time.sleep(0.1)
    raise TimeoutError


def test_a_wrong_password_is_refused(tmp_path):
    with Device(tmp_path, **PASSWORD) as guarded, guarded.unharmed():
        guarded.fails(guarded.image(), WrongPasswordError, password="open barley")
        guarded.board.wait_for("authentication failed")


def test_an_upload_without_the_password_is_not_taken(tmp_path):
    with Device(tmp_path, **PASSWORD) as guarded, guarded.unharmed():
        guarded.fails(guarded.image(), PasswordNeededError, password="")
        guarded.board.wait_for("no answer to AUTH")


@pytest.mark.parametrize(
    "response",
    [b"200 %s %s\n" % (b"c" * 32, b"0" * 32), b"200 %s\n" % (b"c" * 32), b"200 \n", b"200 a b\n",
     b"200 %s %s\n" % (b"c" * 32, b"\xff" * 32), b"200 %s %s %s\n" % (b"c" * 32, b"0" * 32, b"x")],
    ids=["wrong", "no response", "empty", "short", "no text", "one word too many"],
)  # fmt: skip
def test_an_answer_that_does_not_prove_the_password_is_refused(tmp_path, response):
    with Device(tmp_path, **PASSWORD) as guarded, guarded.unharmed():
        host = RawHost(guarded.board.ip)
        said = guarded.said
        host.invite(1000)
        assert host.answer().startswith("AUTH ")
        host.say(response)
        assert host.answer() == "Authentication Failed"
        guarded.board.wait_for("authentication failed", start=said)


def test_an_answer_counts_for_its_own_nonce_only(tmp_path):
    with Device(tmp_path, **PASSWORD) as guarded, guarded.unharmed():
        host = RawHost(guarded.board.ip)
        said = guarded.said
        host.invite(1000)
        first = host.answer()
        assert host.authenticate("AUTH " + "0" * 32, PASSWORD["password"]) != "OK"
        guarded.board.wait_for("authentication failed", start=said)
        said = guarded.said
        host.invite(1000)
        assert host.answer() != first
        assert host.authenticate(first, PASSWORD["password"]) != "OK"
        guarded.board.wait_for("authentication failed", start=said)


def test_another_host_cannot_answer_for_the_one_that_was_asked(tmp_path):
    with Device(tmp_path, **PASSWORD) as guarded:
        data = guarded.next_image()
        said = guarded.said
        host, other = RawHost(guarded.board.ip), RawHost(guarded.board.ip, "127.0.0.9")
        host.invite(len(data), hashlib.md5(data).hexdigest())
        challenge = host.answer()
        other.say(b"200 %s %s\n" % (b"c" * 32, b"0" * 32))
        assert host.authenticate(challenge, PASSWORD["password"]) == "OK"
        host.accept()
        host.send(data)
        assert host.result() == "OK"
        guarded.confirmed(said)
