"""What those who do not know the password cost a board: next to nothing, and only for a while."""

import budgets
import measure_strangers
from device import Device
from mpota import arduino
from raw_host import PASSWORD, StrongHost


def kb(bytes_here):
    return bytes_here * budgets.SCALE / 1024


def test_strangers_datagrams_keep_no_heap(tmp_path, record_property):
    strangers = measure_strangers.strangers(tmp_path)
    figures = f"{kb(strangers.talk):.1f} KB in a talk, {kb(strangers.kept):.2f} KB kept of 200"
    record_property("heap, scaled, strangers' datagrams", figures)
    assert kb(strangers.talk) <= budgets.STRANGER_KB * budgets.TOLERANCE
    assert kb(strangers.kept) <= budgets.LEFT_KB * budgets.TOLERANCE


# Holds all of the heap from when the first host was asked for the password until that talk is over.
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
        # It was not ended for want of memory, and not forgotten.
        assert 9000 <= taken_ms < 30000
        arduino.upload(device.next_image(), board_ip=device.board.ip, password=PASSWORD)
        device.confirmed(0)
