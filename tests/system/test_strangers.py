"""Hosts without the password cost a board next to nothing, and only for a while."""

import contextlib
import hashlib
import random
import socket
import threading
import time

import budgets
import measure_strangers
import pytest
from device import APP, Device
from mpota import arduino
from raw_host import BOARD_PORT, PASSWORD, RawHost, StrongHost


def kb(bytes_here):
    return bytes_here * budgets.SCALE / 1024


def test_strangers_datagrams_keep_no_heap(tmp_path, record_property):
    strangers = measure_strangers.strangers(tmp_path)
    figures = f"{kb(strangers.talk):.1f} KB in a talk, {kb(strangers.kept):.2f} KB kept of 200"
    record_property("heap, scaled, strangers' datagrams", figures)
    assert kb(strangers.talk) <= budgets.STRANGER_KB * budgets.TOLERANCE
    assert kb(strangers.kept) <= budgets.LEFT_KB * budgets.TOLERANCE


# This application holds all of the heap from the moment when the first host is asked for the
# password until the talk with this host is over.
FULL_APP = """
import gc, time

def main(ota):
    held = None
    asked = None
    print("app {version} runs")
    while True:
        ota.handle()
        time.sleep_ms(2)
        if ota.arduino.talk and asked is None:
            asked = time.ticks_ms()
            print("is asked")
            gc.collect()
            try:
                while True:
                    held = held, bytearray(16)
            except MemoryError:
                pass
        elif asked and not ota.arduino.talk:
            taken = time.ticks_diff(time.ticks_ms(), asked)
            held = None
            gc.collect()
            asked = 0  # this was the only one
            print("over after", taken)
"""


def test_a_strangers_talk_ends_on_time_in_a_full_heap(tmp_path):
    with Device(tmp_path, FULL_APP, password=PASSWORD) as device:
        with StrongHost(device.board.ip) as host:
            host.invite_for(b"an image")
            host.challenge()
            taken_ms = int(device.board.wait_for(r"^over after (\d+)", timeout_s=30)[1])
        # The lack of memory did not end the talk early, and the board did not forget to end it.
        assert 9000 <= taken_ms < 30000
        arduino.upload(device.next_image(), board_ip=device.board.ip, password=PASSWORD)
        device.confirmed(0)


JUNK_A_SECOND = 3000
# This application calls handle() seldom. If a call read only one datagram, an honest datagram would
# have no chance among the junk.
SLOW_APP = APP.replace("sleep_ms(10)", "sleep_ms(40)")


@contextlib.contextmanager
def flood(device):
    """Let somebody send junk to *device* meanwhile, JUNK_A_SECOND datagrams a second."""
    is_over = threading.Event()

    def send():
        numbers, sent, begun = random.Random(7), 0, time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            while not is_over.wait(0.001):
                while sent < (time.monotonic() - begun) * JUNK_A_SECOND:
                    start = numbers.choice([b"", b"0 ", b"100 ", b"200 ", b"MPOTA "])
                    junk = start + numbers.randbytes(numbers.randrange(300))
                    udp.sendto(junk, (device.board.ip, BOARD_PORT))
                    sent += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def begin(host, data):
    """Begin an update with *data*. On a busy machine datagrams are lost: *host* tries 5 times."""
    host.udp.settimeout(2)
    for _ in range(5):
        host.invite(len(data), hashlib.md5(data).hexdigest())
        with contextlib.suppress(TimeoutError):
            said = host.answer()
            if said.startswith("AUTH "):
                said = host.authenticate(said)
            if said == "OK":
                return host.accept()
    raise TimeoutError("junk kept the invitation out")


@pytest.mark.parametrize("settings", [{}, {"password": PASSWORD}], ids=["open", "password"])
def test_an_upload_passes_in_a_flood_of_junk(tmp_path, settings):
    with Device(tmp_path, SLOW_APP, **settings) as device:
        start, boots = device.said, device.board.boots
        data = device.next_image(files={"data.bin": bytes(range(256)) * 200})
        with flood(device), RawHost(device.board.ip) as host:
            begin(host, data)
            host.send(data)
            assert host.result() == "OK"
            device.confirmed(start)
        assert device.board.boots == boots + 1
        assert not any("Traceback" in line for line in device.board.lines)
        device.takes_an_update()
